//! A line of `key=value` fields with percent-encoded values.

use super::WireError;

/// The fields of one line, in their order; a key may stand several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    /// Adds a field.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.push((key.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds a field whose value is a number.
    #[must_use]
    pub fn with_number(self, key: &str, value: impl Into<u64>) -> Self {
        self.with(key, value.into().to_string())
    }

    /// The first value of `key`.
    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.all(key).next()
    }

    /// Every value of `key`.
    pub fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_slice())
    }

    /// The values under keys that are none of these.
    pub fn others<'a>(&'a self, known: &[&str]) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(|(key, _)| !known.contains(&key.as_str())).map(|(_, value)| value.as_slice())
    }

    /// The first value of `key` as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        self.bytes(key).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The first value of `key` as a number that fits `T`.
    ///
    /// # Errors
    /// When the key stands there with something else than such a number.
    pub fn number<T: TryFrom<u64>>(&self, key: &str) -> Result<Option<T>, WireError> {
        self.bytes(key).map(|value| number(key, value)).transpose()
    }

    /// Like [`number`](Self::number), for a key that has to be there.
    ///
    /// # Errors
    /// When the key is missing, or is not such a number.
    pub fn required<T: TryFrom<u64>>(&self, key: &str) -> Result<T, WireError> {
        self.number(key)?.ok_or_else(|| WireError::missing(key))
    }

    /// The line, without a verb.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut line = String::new();
        for (key, value) in &self.0 {
            if !line.is_empty() {
                line.push(';');
            }
            line.push_str(key);
            line.push('=');
            percent_encode(value, &mut line);
        }
        line
    }

    /// Reads a line without a verb. Empty fields are skipped.
    ///
    /// # Errors
    /// When a field has no `=`, or a percent sign is not followed by two hexadecimal digits.
    pub fn decode(line: &[u8]) -> Result<Self, WireError> {
        let mut fields = Self::default();
        for field in line.split(|b| *b == b';').filter(|field| !field.is_empty()) {
            let equals = field
                .iter()
                .position(|b| *b == b'=')
                .ok_or_else(|| WireError::new(format!("`{}` has no `=`", String::from_utf8_lossy(field))))?;
            let key = String::from_utf8_lossy(&field[..equals]).into_owned();
            let value = percent_decode(&field[equals + 1..])?;
            fields.0.push((key, value));
        }
        Ok(fields)
    }

    /// The line with `verb` in front: a message.
    #[must_use]
    pub fn message(&self, verb: &str) -> Vec<u8> {
        let fields = self.encode();
        let separator = if fields.is_empty() { "" } else { ";" };
        format!("{verb}{separator}{fields}").into_bytes()
    }

    /// Takes a message apart into its verb and its fields.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), or when the verb is not text.
    pub fn of_message(message: &[u8]) -> Result<(&str, Self), WireError> {
        let end = message.iter().position(|b| *b == b';').unwrap_or(message.len());
        let verb = std::str::from_utf8(&message[..end]).map_err(|_| WireError::new("the verb is not text"))?;
        Ok((verb, Self::decode(&message[end..])?))
    }
}

pub(super) fn number<T: TryFrom<u64>>(key: &str, value: &[u8]) -> Result<T, WireError> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| WireError::new(format!("`{key}={}` is not a number in range", String::from_utf8_lossy(value))))
}

fn percent_encode(value: &[u8], line: &mut String) {
    for byte in value {
        match byte {
            b'%' | b';' | b'=' | 0..=b' ' | 0x7f.. => line.push_str(&format!("%{byte:02X}")),
            plain => line.push(char::from(*plain)),
        }
    }
}

fn percent_decode(value: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let byte = tail.get(..2).and_then(hexadecimal);
            bytes.push(byte.ok_or_else(|| WireError::new("a `%` without two hexadecimal digits"))?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Ok(bytes)
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    // `from_str_radix` would take a sign as well.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(verb in "[a-z-]{1,8}", fields in prop::collection::vec(("[a-z]{1,4}", prop::collection::vec(any::<u8>(), 0..20)), 0..8)) {
            let fields = Fields(fields);
            let message = fields.message(&verb);
            prop_assert!(message.is_ascii());
            prop_assert_eq!(Fields::of_message(&message), Ok((verb.as_str(), fields)));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Fields::of_message(&bytes);
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let error = |line: &str| Fields::decode(line.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("v=1;link"), "`link` has no `=`");
        assert_eq!(error("v=%1"), "a `%` without two hexadecimal digits");
        assert_eq!(error("v=%+1"), "a `%` without two hexadecimal digits");
        let fields = Fields::decode(b"pid=x").unwrap();
        assert_eq!(fields.required::<u32>("pid").unwrap_err().to_string(), "`pid=x` is not a number in range");
        assert_eq!(fields.required::<u32>("gen").unwrap_err().to_string(), "`gen` is missing");
    }
}
