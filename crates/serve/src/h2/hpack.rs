//! Header compression (RFC 7541). What we send uses the static table for names only; what comes is
//! understood in full.

use std::collections::VecDeque;

use super::huffman::Code;

/// Header fields in their order. Names are in lower case.
pub type Fields = Vec<(String, String)>;

/// Bytes of names and values that one header block may decode to.
const LIST_BYTES_MAX: usize = 256 * 1024;
/// Dynamic table: what we allow the peer, which is what it may assume without asking.
const TABLE_BYTES_MAX: usize = 4096;
/// What an entry counts in addition to its bytes (§4.1).
const ENTRY_OVERHEAD: usize = 32;

/// Appendix A, one entry a line, a tab between name and value.
const STATIC: &str = ":authority
:method\tGET
:method\tPOST
:path\t/
:path\t/index.html
:scheme\thttp
:scheme\thttps
:status\t200
:status\t204
:status\t206
:status\t304
:status\t400
:status\t404
:status\t500
accept-charset
accept-encoding\tgzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate";
const STATIC_COUNT: usize = 61;

/// What a peer's header blocks are decoded with.
pub(super) struct Decoder {
    code: Code,
    table: VecDeque<(String, String)>,
    table_bytes: usize,
    /// The size the peer has chosen.
    table_max: usize,
}

impl Decoder {
    pub(super) fn new() -> Decoder {
        Decoder {
            code: Code::new(),
            table: VecDeque::new(),
            table_bytes: 0,
            table_max: TABLE_BYTES_MAX,
        }
    }

    /// Decodes a header block; `None` is a compression error, after which the connection cannot go on.
    pub(super) fn decode(&mut self, mut block: &[u8]) -> Option<Fields> {
        let mut fields = Fields::new();
        let mut total = 0;
        while let Some(&first) = block.first() {
            let field = if first & 0x80 != 0 {
                self.entry(integer(&mut block, 7)?)?
            } else if first & 0xe0 == 0x20 {
                // A new table size comes before the first field.
                self.table_max = integer(&mut block, 5).filter(|size| *size <= TABLE_BYTES_MAX)?;
                if !fields.is_empty() {
                    return None;
                }
                self.evict(0);
                continue;
            } else {
                let indexed = first & 0x40 != 0;
                let field = self.literal(&mut block, if indexed { 6 } else { 4 })?;
                if indexed {
                    self.add(field.clone());
                }
                field
            };
            total += field.0.len() + field.1.len() + ENTRY_OVERHEAD;
            if total > LIST_BYTES_MAX {
                return None;
            }
            fields.push(field);
        }
        Some(fields)
    }

    fn entry(&self, index: usize) -> Option<(String, String)> {
        match index.checked_sub(STATIC_COUNT + 1) {
            Some(own) => self.table.get(own).cloned(),
            None => {
                let line = STATIC.lines().nth(index.checked_sub(1)?)?;
                let (name, value) = line.split_once('\t').unwrap_or((line, ""));
                Some((name.to_string(), value.to_string()))
            }
        }
    }

    fn literal(&self, block: &mut &[u8], prefix: u32) -> Option<(String, String)> {
        let name = match integer(block, prefix)? {
            0 => self.string(block)?,
            index => self.entry(index)?.0,
        };
        Some((name, self.string(block)?))
    }

    fn string(&self, block: &mut &[u8]) -> Option<String> {
        let coded = block.first()? & 0x80 != 0;
        let length = integer(block, 7)?;
        let (bytes, rest) = block.split_at_checked(length)?;
        *block = rest;
        Some(match coded {
            true => String::from_utf8_lossy(&self.code.decode(bytes)?).into_owned(),
            false => String::from_utf8_lossy(bytes).into_owned(),
        })
    }

    fn add(&mut self, field: (String, String)) {
        let size = field.0.len() + field.1.len() + ENTRY_OVERHEAD;
        self.evict(size);
        // An entry larger than the table empties it and is not kept (§4.4).
        if size <= self.table_max {
            self.table_bytes += size;
            self.table.push_front(field);
        }
    }

    /// Makes room for `size` bytes.
    fn evict(&mut self, size: usize) {
        while self.table_bytes + size > self.table_max {
            let Some((name, value)) = self.table.pop_back() else {
                return;
            };
            self.table_bytes -= name.len() + value.len() + ENTRY_OVERHEAD;
        }
    }
}

/// §5.1. Takes what it reads off `bytes`.
fn integer(bytes: &mut &[u8], prefix: u32) -> Option<usize> {
    let (&first, mut rest) = bytes.split_first()?;
    let mask = (1_u32 << prefix) - 1;
    let mut value = u32::from(first) & mask;
    if value == mask {
        // Four more octets carry 28 bits; nobody needs more.
        for shift in (0..).step_by(7).take(4) {
            let (&next, after) = rest.split_first()?;
            rest = after;
            value = value.checked_add(u32::from(next & 0x7f) << shift)?;
            if next & 0x80 == 0 {
                *bytes = rest;
                return Some(value as usize);
            }
        }
        return None;
    }
    *bytes = rest;
    Some(value as usize)
}

fn emit_integer(out: &mut Vec<u8>, first: u8, prefix: u32, value: usize) {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        out.push(first | value as u8);
        return;
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Emits a header block: literals that no table keeps.
pub(super) fn emit(fields: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        let known = STATIC
            .lines()
            .position(|line| line.split('\t').next() == Some(name));
        match known {
            Some(index) => emit_integer(&mut out, 0, 4, index + 1),
            None => {
                out.push(0);
                emit_integer(&mut out, 0, 7, name.len());
                out.extend_from_slice(name.as_bytes());
            }
        }
        emit_integer(&mut out, 0, 7, value.len());
        out.extend_from_slice(value.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn check(decoder: &mut Decoder, block: &str, expected: &str, table_bytes: usize) {
        let fields = decoder.decode(&hex(block)).unwrap();
        let text: Vec<String> = fields.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        assert_eq!(text.join("|"), expected);
        assert_eq!(decoder.table_bytes, table_bytes);
    }

    /// Appendix C.3: requests without Huffman; C.4: the same with it.
    #[test]
    fn requests_of_rfc_7541_appendix_c() {
        let blocks = [
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ];
        for blocks in blocks {
            let mut decoder = Decoder::new();
            let first = ":method: GET|:scheme: http|:path: /|:authority: www.example.com";
            check(&mut decoder, blocks[0], first, 57);
            let second = format!("{first}|cache-control: no-cache");
            check(&mut decoder, blocks[1], &second, 110);
            check(
                &mut decoder,
                blocks[2],
                ":method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|custom-key: custom-value",
                164,
            );
        }
    }

    /// Appendix C.5: a table of 256 bytes that has to forget.
    #[test]
    fn a_small_table_forgets() {
        let mut decoder = Decoder::new();
        decoder.table_max = 256;
        check(
            &mut decoder,
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a \
             3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            ":status: 302|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com",
            222,
        );
        check(
            &mut decoder,
            "4803 3330 37c1 c0bf",
            ":status: 307|cache-control: private|date: Mon, 21 Oct 2013 20:13:21 GMT|location: https://www.example.com",
            222,
        );
    }

    #[test]
    fn wrong_blocks_are_refused() {
        for block in [
            "80",                // index 0
            "be",                // nothing in the dynamic table
            "3fff ffff ff7f",    // a table of 256 MiB
            "ffff ffff ffff ff", // an integer without an end
            "0005 6162",         // a name that is cut off
            "8220",              // a table size after a field
        ] {
            assert_eq!(Decoder::new().decode(&hex(block)), None, "{block}");
        }
    }

    #[test]
    fn what_is_emitted_is_read_back() {
        let fields: Fields = [
            (":status", "200"),
            ("grpc-message", "a"),
            ("x", &"v".repeat(300)),
        ]
        .map(|(n, v)| (n.to_string(), v.to_string()))
        .into();
        assert_eq!(Decoder::new().decode(&emit(&fields)), Some(fields));
    }
}
