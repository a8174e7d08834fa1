//! Files that are mostly zeros, without the zeros: a count of zeros, a count of bytes, these bytes, and so on. Counts are of two bytes.

/// Longest file.
pub const LEN_MAX: usize = 256 << 10;

/// Shortest run of zeros that is left out.
const RUN_MIN: usize = 12;

/// The file that the bytes are of. What is cut short ends there.
pub fn open(mut bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    while let Some(([zeros_low, zeros_high, low, high], rest)) = bytes.split_first_chunk() {
        let zeros = usize::from(u16::from_le_bytes([*zeros_low, *zeros_high]));
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (literal, rest) = rest.split_at(len);
        file.resize((file.len() + zeros).min(LEN_MAX), 0);
        file.extend_from_slice(&literal[..len.min(LEN_MAX - file.len())]);
        bytes = rest;
    }
    file
}

/// The bytes of a file.
pub fn close(file: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), file);
    while !rest.is_empty() {
        let zeros = rest.iter().take_while(|byte| **byte == 0).count().min(usize::from(u16::MAX));
        rest = &rest[zeros..];
        let mut len = 0;
        while len < rest.len().min(usize::from(u16::MAX)) {
            let run = rest[len..].iter().take(RUN_MIN).take_while(|byte| **byte == 0).count();
            if run == RUN_MIN {
                break;
            }
            len = (len + run.max(1)).min(rest.len());
        }
        len = len.min(usize::from(u16::MAX));
        out.extend((zeros as u16).to_le_bytes());
        out.extend((len as u16).to_le_bytes());
        out.extend_from_slice(&rest[..len]);
        rest = &rest[len..];
    }
    out
}
