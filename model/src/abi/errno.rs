//! Error numbers of Linux.
//!
//! One list serves both kernels and the traces. The numbers are those of every architecture that
//! has iommufd. A number that is not in the list keeps its value.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// An error number of Linux.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Errno {
            $(#[doc = $text] $name,)*
            /// Any other number.
            Other(i32),
        }

        impl Errno {
            /// Returns the errno of a positive error number.
            pub fn from_number(number: i32) -> Self {
                match number { $($number => Self::$name,)* other => Self::Other(other) }
            }

            /// Returns the number.
            pub fn number(self) -> i32 {
                match self { $(Self::$name => $number,)* Self::Other(other) => other }
            }

            /// Returns the name in upper case, as in `errno(3)`; `None` for [`Self::Other`].
            pub fn name(self) -> Option<&'static str> {
                match self { $(Self::$name => Some(stringify!($name)),)* Self::Other(_) => None }
            }

            /// Returns a description, as `strerror(3)` does.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Other(_) => "unnamed error" }
            }

            /// Returns the errno of a name such as `EINVAL`, or of a number in digits.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    digits => digits.parse().ok().map(Self::from_number),
                }
            }
        }
    };
}

errnos! {
    EPERM = 1, "operation not permitted";
    ENOENT = 2, "no such file, object or mapping";
    ESRCH = 3, "no such process";
    EINTR = 4, "interrupted";
    EIO = 5, "input/output error";
    E2BIG = 7, "argument too large";
    EBADF = 9, "bad file descriptor";
    EAGAIN = 11, "try again";
    ENOMEM = 12, "cannot allocate or lock memory";
    EACCES = 13, "permission denied";
    EFAULT = 14, "bad address";
    EBUSY = 16, "in use";
    EEXIST = 17, "already exists";
    ENODEV = 19, "no such device";
    EINVAL = 22, "invalid argument";
    EMFILE = 24, "too many open files";
    ENOTTY = 25, "unknown ioctl";
    EFBIG = 27, "file too large";
    ENOSPC = 28, "no space left";
    ESPIPE = 29, "illegal seek";
    EPIPE = 32, "broken pipe";
    ERANGE = 34, "out of range";
    EDEADLK = 35, "resource deadlock avoided";
    ENOTCONN = 107, "not connected";
    EOVERFLOW = 75, "value too large";
    EBADFD = 77, "descriptor of the wrong kind";
    EMSGSIZE = 90, "message too long";
    ENOTSOCK = 88, "not a socket";
    EOPNOTSUPP = 95, "not supported";
    EADDRINUSE = 98, "address in use";
    ECONNRESET = 104, "connection reset by peer";
    ENXIO = 6, "no such device or address";
    ECONNREFUSED = 111, "connection refused";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.number()),
        }
    }
}

impl Serialize for Errno {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Errno {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name)
            .ok_or_else(|| serde::de::Error::custom(format!("{name:?} is not an errno")))
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn names_and_numbers_agree_both_ways() {
        for number in 1..134 {
            let errno = Errno::from_number(number);
            assert_eq!(errno.number(), number);
            assert_eq!(Errno::from_name(&errno.to_string()), Some(errno));
        }
        assert_eq!(Errno::from_name("EWHAT"), None);
    }
}
