//! The encoding of Protocol Buffers: fields with numbers, of which a reader takes those it knows.

use std::collections::BTreeMap;

/// A message that is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// A field's value. The other two wire types are skipped: nothing here uses them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// An integer, a boolean, an enumeration.
    Number(u64),
    /// A string, bytes, a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number; 0 for another type, as for a field that is not there.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Value::Number(number) => number,
            Value::Bytes(_) => 0,
        }
    }

    /// The bytes; none for another type.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Value::Number(_) => &[],
            Value::Bytes(bytes) => bytes,
        }
    }

    /// The text. What is not UTF-8 is replaced.
    #[must_use]
    pub fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// An entry of `map<string, …>`: key and value.
    pub fn entry(self) -> Result<(String, Value<'a>), Malformed> {
        let (mut key, mut value) = (String::new(), Value::Bytes(&[]));
        for field in fields(self.bytes()) {
            match field? {
                (1, found) => key = found.text(),
                (2, found) => value = found,
                _ => {}
            }
        }
        Ok((key, value))
    }
}

/// The fields of a message, in their order.
pub fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<(u32, Value<'_>), Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            match field(&mut rest) {
                Some(Some(field)) => return Some(Ok(field)),
                Some(None) => {}
                None => {
                    rest = &[];
                    return Some(Err(Malformed));
                }
            }
        }
        None
    })
}

/// The next field; `Some(None)` is one of a type nobody here reads.
#[allow(clippy::option_option)]
fn field<'a>(rest: &mut &'a [u8]) -> Option<Option<(u32, Value<'a>)>> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| *number != 0)?;
    let mut skip = |count: usize| {
        let (bytes, after) = rest.split_at_checked(count)?;
        *rest = after;
        Some(bytes)
    };
    let value = match tag & 7 {
        0 => Value::Number(varint(rest)?),
        1 => return skip(8).map(|_| None),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (bytes, after) = rest.split_at_checked(length)?;
            *rest = after;
            Value::Bytes(bytes)
        }
        5 => return skip(4).map(|_| None),
        _ => return None,
    };
    Some(Some((number, value)))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A message that is being written. Values that are the default are left out, as in proto3.
#[derive(Clone, Default, Debug)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// An empty message.
    #[must_use]
    pub fn new() -> Message {
        Message::default()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number, unless it is 0.
    pub fn number(&mut self, field: u32, value: u64) -> &mut Message {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(value);
        }
        self
    }

    /// Bytes, also when there are none.
    pub fn present(&mut self, field: u32, bytes: &[u8]) -> &mut Message {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes, unless there are none.
    pub fn bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Message {
        match bytes.is_empty() {
            true => self,
            false => self.present(field, bytes),
        }
    }

    /// A text, unless it is empty.
    pub fn text(&mut self, field: u32, text: &str) -> &mut Message {
        self.bytes(field, text.as_bytes())
    }

    /// A message inside.
    pub fn message(&mut self, field: u32, message: &Message) -> &mut Message {
        self.present(field, &message.0)
    }

    /// A `map<string, string>`.
    pub fn map(&mut self, field: u32, map: &BTreeMap<String, String>) -> &mut Message {
        for (key, value) in map {
            let mut entry = Message::new();
            entry.text(1, key).text(2, value);
            self.message(field, &entry);
        }
        self
    }

    /// `google.protobuf.Timestamp` from nanoseconds since 1970.
    pub fn time(&mut self, field: u32, nanos: u64) -> &mut Message {
        let mut time = Message::new();
        time.number(1, nanos / 1_000_000_000)
            .number(2, nanos % 1_000_000_000);
        self.message(field, &time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_and_read() {
        let mut message = Message::new();
        message
            .number(1, 150)
            .text(2, "testing")
            .number(3, 0)
            .time(6, 1_000_000_002);
        message.map(4, &[("k".to_string(), "v".to_string())].into());
        assert_eq!(
            message.0,
            b"\x08\x96\x01\x12\x07testing\x32\x04\x08\x01\x10\x02\x22\x06\x0a\x01k\x12\x01v"
        );
        let read: Vec<_> = fields(&message.0).map(Result::unwrap).collect();
        assert_eq!(read[0], (1, Value::Number(150)));
        assert_eq!(read[1].1.text(), "testing");
        assert_eq!(read[3].1.entry(), Ok(("k".to_string(), Value::Bytes(b"v"))));
        // Fixed-width fields are passed over.
        let read: Vec<_> = fields(b"\x09abcdefgh\x15abcd\x18\x05").collect();
        assert_eq!(read, [Ok((3, Value::Number(5)))]);
        for wrong in [
            &b"\x08"[..],
            b"\x12\x05ab",
            b"\x00\x01",
            b"\x0b",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(fields(wrong).any(|field| field.is_err()), "{wrong:?}");
        }
    }
}
