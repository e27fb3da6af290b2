//! What clients have sent, in a line that they cannot end.

use std::fmt::{self, Write as _};

/// Where something was left out.
const CUT: &str = "...";

/// Appends what can neither begin a line nor end a field, and is at most so long.
pub(super) fn escape(line: &mut String, bytes: &[u8], most: usize) -> fmt::Result {
    if let Some(text) = plain(bytes, most) {
        return line.write_str(text);
    }
    let end = line.len() + most;
    for byte in bytes {
        if line.len() + r"\xFF".len() > end {
            return line.write_str(CUT);
        }
        match byte {
            b'"' | b'\\' | ..=0x1f | 0x7f.. => write!(line, "\\x{byte:02X}")?,
            _ => line.push(char::from(*byte)),
        }
    }
    Ok(())
}

/// Appends a string of JSON that is at most so long.
pub(super) fn quote(line: &mut String, bytes: &[u8], most: usize) -> fmt::Result {
    line.push('"');
    if let Some(text) = plain(bytes, most) {
        line.push_str(text);
    } else {
        quote_any(line, bytes, most)?;
    }
    line.push('"');
    Ok(())
}

fn quote_any(line: &mut String, bytes: &[u8], most: usize) -> fmt::Result {
    let end = line.len() + most;
    for character in String::from_utf8_lossy(bytes).chars() {
        if line.len() + r"\u0000".len() > end {
            return line.write_str(CUT);
        }
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            // Line breaks that are none to JSON are some to those who read logs.
            ..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                write!(line, "\\u{:04x}", u32::from(character))?;
            }
            _ => line.push(character),
        }
    }
    Ok(())
}

/// What nearly everybody sends: short, and the same in both formats.
fn plain(bytes: &[u8], most: usize) -> Option<&str> {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' if *byte != b'"' && *byte != b'\\');
    let is_short = bytes.len() + r"\u0000".len() <= most;
    if is_short && bytes.iter().all(is_plain) { str::from_utf8(bytes).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_or_a_field() {
        let bytes = b"a b\n\r\x1b[2J\x7f\"\\\xc3\xa9\xff\xe2\x80\xa8";
        let (mut escaped, mut quoted) = (String::new(), String::new());
        escape(&mut escaped, bytes, 100).unwrap();
        quote(&mut quoted, bytes, 100).unwrap();
        assert_eq!(escaped, r"a b\x0A\x0D\x1B[2J\x7F\x22\x5C\xC3\xA9\xFF\xE2\x80\xA8");
        assert_eq!(quoted, "\"a b\\u000a\\u000d\\u001b[2J\\u007f\\\"\\\\\u{e9}\u{fffd}\\u2028\"");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        for bytes in [[b'a'; 40], [b'\n'; 40], [0xff; 40]] {
            let (mut escaped, mut quoted) = ("before".to_owned(), "before".to_owned());
            escape(&mut escaped, &bytes, 20).unwrap();
            quote(&mut quoted, &bytes, 20).unwrap();
            let most = "before".len() + 20 + CUT.len();
            assert!(escaped.ends_with("...") && escaped.len() <= most, "{escaped}");
            assert!(quoted.ends_with("...\"") && quoted.len() <= most + 2, "{quoted}");
        }
    }
}
