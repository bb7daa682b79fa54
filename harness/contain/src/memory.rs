//! Memory that two processes share: a file without a name whose size can no longer change, so that neither side can take pages away
//! from under the other. Its pages exist before they are used: what the machine cannot give is an error when the memory is made.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use memmap2::{Mmap, MmapMut};

use crate::watch::{available_memory, machine_memory};

/// A file of this size in memory. The kernel would give pages until it has to kill somebody: what is not there is refused before.
fn file(bytes: usize) -> io::Result<File> {
    let available = available_memory().or_else(machine_memory).unwrap_or(0);
    if bytes as u64 > available / 2 {
        let what = format!("{} MB are needed, and half of the {} MB that are free can be had", bytes >> 20, available >> 20);
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, what));
    }
    // SAFETY: the name is a string with its end; the call returns a new descriptor or an error.
    let descriptor = unsafe { libc::memfd_create(c"flatscape".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    let length = i64::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
    file.set_len(bytes as u64)?;
    // SAFETY: works on a descriptor and numbers.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(file),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn seal(file: &File, seals: i32) -> io::Result<()> {
    // SAFETY: works on a descriptor and a number.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

const SIZE: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;

/// Memory that this process writes and the other one may only read.
pub struct Inward {
    file: File,
    /// The bytes.
    pub bytes: MmapMut,
}

impl Inward {
    /// At least one byte.
    ///
    /// # Errors
    /// The machine has not that much memory.
    pub fn new(bytes: usize) -> io::Result<Inward> {
        let file = file(bytes.max(1))?;
        seal(&file, SIZE)?;
        // SAFETY: the file is new, its size is sealed, and this process alone has it.
        let bytes = unsafe { MmapMut::map_mut(&file)? };
        // no later mapping may be written through; this one stays what it is
        seal(&file, libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL)?;
        Ok(Inward { file, bytes })
    }

    /// The file, to be sent.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Memory that the other process writes and this one only reads. Its contents change at any moment: what is read is copied before
/// it is looked at.
pub struct Outward {
    file: File,
    /// The bytes.
    pub bytes: Mmap,
}

impl Outward {
    /// At least one byte.
    ///
    /// # Errors
    /// The machine has not that much memory.
    pub fn new(bytes: usize) -> io::Result<Outward> {
        let file = file(bytes.max(1))?;
        seal(&file, SIZE | libc::F_SEAL_SEAL)?;
        // SAFETY: the size is sealed, so that no page can vanish. Bytes may change while they are read; readers copy them and
        // give no meaning to what they have not copied.
        let bytes = unsafe { Mmap::map(&file)? };
        Ok(Outward { file, bytes })
    }

    /// The file, to be sent.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// An [`Inward`], seen by the other process.
pub struct ReadOnly(pub Mmap);

impl ReadOnly {
    /// Maps a file that was received.
    ///
    /// # Errors
    /// The system refuses.
    pub fn map(file: &File) -> io::Result<ReadOnly> {
        // SAFETY: the size is sealed; the parent writes only while this side waits for its answer.
        Ok(ReadOnly(unsafe { Mmap::map(file)? }))
    }
}

/// An [`Outward`], seen by the other process.
pub struct Writable(pub MmapMut);

impl Writable {
    /// Maps a file that was received.
    ///
    /// # Errors
    /// The system refuses.
    pub fn map(file: &File) -> io::Result<Writable> {
        // SAFETY: the size is sealed; the parent only reads.
        Ok(Writable(unsafe { MmapMut::map_mut(file)? }))
    }
}

/// Room for one descriptor in a control message, aligned as the kernel wants it.
#[repr(align(8))]
struct Room([u8; 64]);

/// Sends a descriptor with one byte.
///
/// # Errors
/// The other end is gone, or does not read.
pub fn send_file(to: &UnixStream, file: &File) -> io::Result<()> {
    let mut byte = 0u8;
    let mut room = Room([0; 64]);
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the message is plain numbers and pointers, for which zero is a value; its parts live until the call returns, and the
    // room is larger than the space for one descriptor and aligned for its header.
    let sent = unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = room.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(file.as_raw_fd());
        libc::sendmsg(to.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receives what [`send_file`] has sent.
///
/// # Errors
/// The other end is gone, or has sent something else.
pub fn receive_file(from: &UnixStream) -> io::Result<File> {
    let mut byte = 0u8;
    let mut room = Room([0; 64]);
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let nothing = || io::Error::new(io::ErrorKind::InvalidData, "no descriptor was sent");
    // SAFETY: as in `send_file`; the kernel writes into the byte and the room, and says how much of the room it has used.
    unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = room.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
        if libc::recvmsg(from.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) != 1 {
            return Err(io::Error::last_os_error());
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || ((*header).cmsg_level, (*header).cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            return Err(nothing());
        }
        let descriptor = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
        Ok(File::from(OwnedFd::from_raw_fd(descriptor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_crosses_a_socket_and_keeps_its_size() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut inward, outward) = (Inward::new(1000).unwrap(), Outward::new(5000).unwrap());
        inward.bytes[999] = 7;
        send_file(&here, inward.file()).unwrap();
        send_file(&here, outward.file()).unwrap();
        let (read, written) = (receive_file(&there).unwrap(), receive_file(&there).unwrap());
        for file in [&read, &written] {
            assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err(), "the size is sealed");
            assert!(seal(file, libc::F_SEAL_WRITE).is_err(), "and so are the seals");
        }
        assert!(Writable::map(&read).is_err(), "what is read cannot be written");
        assert_eq!(ReadOnly::map(&read).unwrap().0[999], 7);
        Writable::map(&written).unwrap().0[4999] = 9;
        assert_eq!(outward.bytes[4999], 9);
    }

    #[test]
    fn what_the_machine_does_not_have_is_an_error() {
        // refused before a page is asked for: the kernel would kill somebody to find them
        for bytes in [usize::MAX, 1 << 60, machine_memory().expect("Linux says") as usize] {
            assert_eq!(Outward::new(bytes).map(drop).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
            assert_eq!(Inward::new(bytes).map(drop).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        }
    }
}
