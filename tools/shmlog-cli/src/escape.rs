//! Bytes from a log as text. What others wrote must not steer the terminal.

use std::fmt::Write;

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a `String` can't fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Text on one line: control characters and backslashes escaped, what is no UTF-8 as `\xNN`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\'' => line.push(char),
                _ => line.extend(char.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(line, "\\x{byte:02x}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal() {
        assert_eq!(hex(&[]), "");
        assert_eq!(hex(&[0, 0x9a, 0xff]), "009aff");
    }

    #[test]
    fn text_is_harmless() {
        assert_eq!(text("it's \"plain\" – größer".as_bytes()), "it's \"plain\" – größer");
        assert_eq!(text(b"two\nlines\x1b[2J \\x"), "two\\nlines\\u{1b}[2J \\\\x");
        assert_eq!(text(b"a\xff\xc3b\0"), "a\\xff\\xc3b\\0");
    }
}
