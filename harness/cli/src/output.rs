//! The one place that prints. A reader that goes away (`| head`) stops nothing: further output is lost, and the work continues to
//! its end and its exit code. What cannot be printed for another reason (a full disk) is kept and becomes exit code 7.

use std::fmt;
use std::io::{self, Write};
use std::sync::Mutex;

use flatscape_intake::refusal::Refusal;

/// Why something could not be printed: the stream and the reason of the first failure that is not a closed pipe.
static LOST: Mutex<Option<(&str, io::Error)>> = Mutex::new(None);

/// Prints a line on standard output.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::out(format_args!($($words)*)) };
}

/// Prints a line on standard error.
macro_rules! remark {
    ($($words:tt)*) => { $crate::output::err(format_args!($($words)*)) };
}

pub(crate) use {remark, say};

/// A line on standard output.
pub fn out(line: fmt::Arguments<'_>) {
    print("standard output", &mut io::stdout().lock(), line);
}

/// A line on standard error.
pub fn err(line: fmt::Arguments<'_>) {
    print("standard error", &mut io::stderr().lock(), line);
}

fn print(name: &'static str, stream: &mut dyn Write, line: fmt::Arguments<'_>) {
    let written = stream.write_all(format!("{line}\n").as_bytes()).and_then(|()| stream.flush());
    if let Some(error) = written.err().filter(|e| e.kind() != io::ErrorKind::BrokenPipe)
        && let Ok(mut lost) = LOST.lock()
    {
        lost.get_or_insert((name, error));
    }
}

/// The exit code of the program: that of the command, or 7 if something could not be printed although a reader is there.
pub fn exit_code(code: u8) -> u8 {
    let lost = LOST.lock().ok().and_then(|mut lost| lost.take());
    let Some((name, error)) = lost else { return code };
    let refusal = Refusal::output(94, format!("{name} could not be written: {error}"));
    let refusal = refusal.help("what was computed is kept in its files; print to a place with room");
    err(format_args!("{refusal}"));
    refusal.class.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_changes_no_exit_code_and_a_full_disk_is_seven() {
        print("a pipe", &mut Fails(io::ErrorKind::BrokenPipe), format_args!("lost"));
        assert_eq!((exit_code(0), exit_code(1)), (0, 1));
        print("a disk", &mut Fails(io::ErrorKind::StorageFull), format_args!("lost"));
        print("a disk", &mut Fails(io::ErrorKind::StorageFull), format_args!("lost"));
        assert_eq!(exit_code(0), 7);
        let mut kept = Vec::new();
        print("a buffer", &mut kept, format_args!("{} words", 2));
        assert_eq!((kept.as_slice(), exit_code(9)), (b"2 words\n".as_slice(), 9));
    }
}
