//! SHA-256 of bytes, and how bytes are written as text: the one place of the workspace. Knows nothing of files.

use sha2::Digest as _;

/// A SHA-256 that takes its bytes in pieces, also as a writer.
#[derive(Clone, Debug, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Adds bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// The hash of all that was added.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// The same in lower-case hexadecimal.
    pub fn text(self) -> String {
        hexadecimal(&self.finish())
    }
}

impl std::io::Write for Sha256 {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// SHA-256.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&digest(bytes))
}

/// Lower-case hexadecimal, two digits for each byte.
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// The examples of FIPS 180-4, whole and in pieces.
    #[test]
    fn hashes_are_those_of_the_standard() {
        for (text, hash) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            assert_eq!(sha256(text.as_bytes()), hash);
            let mut pieces = Sha256::default();
            text.bytes().for_each(|byte| pieces.update([byte]));
            assert_eq!(pieces.text(), hash);
            let mut written = Sha256::default();
            written.write_all(text.as_bytes()).unwrap();
            assert_eq!(written.finish(), digest(text.as_bytes()));
        }
        assert_eq!(hexadecimal(&[0, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }
}
