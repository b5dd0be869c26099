//! The string code of HPACK (RFC 7541 §5.2 and appendix B).
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, and a
//! longer code continues where the shorter ones end. So the lengths are the whole table.

/// Code length of each octet, and of the end-of-string symbol.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];

const LENGTH_MAX: usize = 30;
const END_OF_STRING: u16 = 256;

/// What decoding looks up.
pub(super) struct Code {
    /// Symbols by length, then by value: the order of their codes.
    symbols: Vec<u16>,
    /// Per length: its first code, and where its symbols begin and end.
    lengths: [(u32, usize, usize); LENGTH_MAX + 1],
}

impl Code {
    pub(super) fn new() -> Code {
        let mut symbols: Vec<u16> = (0..=END_OF_STRING).collect();
        symbols.sort_by_key(|symbol| LENGTHS[usize::from(*symbol)]);
        let mut lengths = [(0, 0, 0); LENGTH_MAX + 1];
        let (mut code, mut at) = (0_u32, 0);
        for (length, row) in lengths.iter_mut().enumerate() {
            let count = LENGTHS
                .iter()
                .filter(|own| usize::from(**own) == length)
                .count();
            *row = (code, at, at + count);
            at += count;
            code = (code + count as u32) << 1;
        }
        Code { symbols, lengths }
    }

    /// Decodes a string; `None` when its padding is wrong or it says "end of string".
    pub(super) fn decode(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len() * 8 / 5);
        let (mut code, mut length) = (0_u32, 0_usize);
        for byte in bytes {
            for shift in (0..8).rev() {
                code = code << 1 | u32::from(byte >> shift & 1);
                length += 1;
                let (first, start, end) = *self.lengths.get(length)?;
                let index = code.wrapping_sub(first) as usize;
                if code >= first && index < end - start {
                    let symbol = self.symbols[start + index];
                    out.push(u8::try_from(symbol).ok()?);
                    (code, length) = (0, 0);
                }
            }
        }
        // Padding is the beginning of the end-of-string code, which is all ones, and less than an octet.
        (length < 8 && code == (1 << length) - 1).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_rfc_7541_appendix_c() {
        let code = Code::new();
        let cases: [(&str, &[u8]); 4] = [
            (
                "www.example.com",
                b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            ),
            ("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
            ),
            ("", b""),
        ];
        for (text, bytes) in cases {
            assert_eq!(
                code.decode(bytes).as_deref(),
                Some(text.as_bytes()),
                "{text}"
            );
        }
        for wrong in [
            &b"\xff"[..],                                        // a whole octet of padding
            b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xfe", // padding with a zero
            b"\xff\xff\xff\xff",                                 // end of string
        ] {
            assert_eq!(code.decode(wrong), None, "{wrong:?}");
        }
    }
}
