//! What the records of the catalogue say: keyspaces that come and go, cursors that move.
//!
//! Floor 1. Imports `address`, `format`, `limits`.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::address::Seqno;
use crate::format::fields::Fields;
use crate::format::record::{Draft, Flaw, Header, Kind};
use crate::limits::SEQNO_MAX;

/// Longest name of a keyspace or cursor, in bytes: its length is a u16 on disk.
pub(crate) const NAME_LEN_MAX: usize = u16::MAX as usize;

/// No record of the catalogue has a longer value.
pub(crate) const PAYLOAD_LEN_MAX: u64 = 16 + NAME_LEN_MAX as u64;

const ORDERED: u8 = 1;
const HAS_TTL: u8 = 2;
const HAS_SEQNO: u8 = 1;

/// A change of the catalogue; it is the value of a record of its own kind.
///
/// Each payload begins with the record's kind, and ends where the last field ends.
///
/// ```text
///  offset  bytes  keyspace create
///       0      1  kind         4
///       1      1  flags        1 ordered, 2 has a default ttl; others zero
///       2      2  id
///       4      2  value align  a power of two, 8..=4096
///       6      2  name length
///       8      8  default ttl  milliseconds; 0 without
///      16      .  name         UTF-8
///
///  offset  bytes  keyspace drop, keyspace clear
///       0      1  kind         5 drop, 6 clear
///       1      1  zero
///       2      2  id
///       4      4  zero
///
///  offset  bytes  cursor
///       0      1  kind         7
///       1      1  flags        1 has a seqno: without it, the cursor is removed; others zero
///       2      4  zero
///       6      2  name length
///       8      8  seqno        below 2^48; 0 without
///      16      .  name         UTF-8
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CatalogueRecord<'a> {
    Create(KeyspaceCreate<'a>),
    /// The keyspace of this id is gone.
    Drop(u16),
    /// All that was in the keyspace of this id is gone.
    Clear(u16),
    /// The cursor of this name stands at the seqno, or is removed.
    Cursor {
        name: &'a str,
        seqno: Option<Seqno>,
    },
}

/// A keyspace begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyspaceCreate<'a> {
    pub(crate) id: u16,
    pub(crate) name: &'a str,
    pub(crate) ordered: bool,
    /// a power of two, 8..=4096
    pub(crate) value_align: u16,
    pub(crate) default_ttl_ms: Option<u64>,
}

impl<'a> CatalogueRecord<'a> {
    /// The kind of the record that says this.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            CatalogueRecord::Create(_) => Kind::KeyspaceCreate,
            CatalogueRecord::Drop(_) => Kind::KeyspaceDrop,
            CatalogueRecord::Clear(_) => Kind::KeyspaceClear,
            CatalogueRecord::Cursor { .. } => Kind::Cursor,
        }
    }

    /// The keyspace it is about; 0 for a cursor, which has none.
    pub(crate) fn keyspace(&self) -> u16 {
        match *self {
            CatalogueRecord::Create(KeyspaceCreate { id, .. })
            | CatalogueRecord::Drop(id)
            | CatalogueRecord::Clear(id) => id,
            CatalogueRecord::Cursor { .. } => 0,
        }
    }

    /// The record with this `payload`, which `encode` made.
    pub(crate) fn draft<'p>(&self, payload: &'p [u8]) -> Draft<'p> {
        Draft { kind: self.kind(), keyspace: self.keyspace(), key: &[], value: payload, expiry: None }
    }

    /// The payload. The caller has checked names against `NAME_LEN_MAX` and options against their bounds.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind() as u8];
        match *self {
            CatalogueRecord::Create(create) => {
                assert!(is_value_align(create.value_align), "the caller has checked value_align");
                let ordered = if create.ordered { ORDERED } else { 0 };
                let has_ttl = if create.default_ttl_ms.is_some() { HAS_TTL } else { 0 };
                out.push(ordered | has_ttl);
                out.extend(create.id.to_le_bytes());
                out.extend(create.value_align.to_le_bytes());
                out.extend(name_len(create.name).to_le_bytes());
                out.extend(create.default_ttl_ms.unwrap_or(0).to_le_bytes());
                out.extend(create.name.as_bytes());
            }
            CatalogueRecord::Drop(id) | CatalogueRecord::Clear(id) => {
                out.push(0);
                out.extend(id.to_le_bytes());
                out.extend([0; 4]);
            }
            CatalogueRecord::Cursor { name, seqno } => {
                let number = seqno.map_or(0, u64::from);
                assert!(number <= SEQNO_MAX, "seqno {number} does not fit a cursor");
                out.push(if seqno.is_some() { HAS_SEQNO } else { 0 });
                out.extend([0; 4]);
                out.extend(name_len(name).to_le_bytes());
                out.extend(number.to_le_bytes());
                out.extend(name.as_bytes());
            }
        }
        out
    }

    /// Decodes the value of the record of `header`, whose checksums the caller has checked.
    ///
    /// # Errors
    ///
    /// `Damaged` if it is no payload of a record of that kind and keyspace.
    pub(crate) fn decode(header: &Header, payload: &'a [u8]) -> Result<Self, Flaw> {
        CatalogueRecord::of(header.kind, header.keyspace, payload)
    }

    /// Decodes the value of a record of that kind and keyspace.
    ///
    /// # Errors
    ///
    /// As `decode`.
    pub(crate) fn of(found: Kind, keyspace: u16, payload: &'a [u8]) -> Result<Self, Flaw> {
        let mut fields = Fields::new(payload);
        let kind = fields.u8()?;
        if kind != found as u8 {
            return Err(Flaw::Damaged(format!("a {found:?} has a payload of kind {kind}")));
        }
        let record = match found {
            Kind::KeyspaceCreate => decode_create(&mut fields)?,
            Kind::KeyspaceDrop => CatalogueRecord::Drop(decode_id(&mut fields)?),
            Kind::KeyspaceClear => CatalogueRecord::Clear(decode_id(&mut fields)?),
            Kind::Cursor => decode_cursor(&mut fields)?,
            Kind::Put | Kind::PutLarge | Kind::Delete | Kind::Pad => {
                return Err(Flaw::Damaged(format!("a {found:?} is not of the catalogue")));
            }
        };
        fields.nothing_left()?;
        if record.keyspace() != keyspace {
            let (inner, outer) = (record.keyspace(), keyspace);
            let what = format!("a record of keyspace {outer} has a payload of keyspace {inner}");
            return Err(Flaw::Damaged(what));
        }
        Ok(record)
    }
}

fn decode_create<'a>(fields: &mut Fields<'a>) -> Result<CatalogueRecord<'a>, Flaw> {
    let flags = fields.u8()?;
    let id = fields.u16()?;
    let value_align = fields.u16()?;
    let name_len = fields.u16()?;
    let ttl = fields.u64()?;
    let name = decode_name(fields, name_len)?;
    let default_ttl_ms = optional(flags & HAS_TTL, ttl)?;
    if flags & !(ORDERED | HAS_TTL) != 0 {
        return Err(Flaw::Damaged(format!("a keyspace has unknown flags {flags:#04x}")));
    }
    if !is_value_align(value_align) {
        return Err(Flaw::Damaged(format!("a keyspace aligns values to {value_align}")));
    }
    let ordered = flags & ORDERED != 0;
    Ok(CatalogueRecord::Create(KeyspaceCreate { id, name, ordered, value_align, default_ttl_ms }))
}

fn decode_id(fields: &mut Fields<'_>) -> Result<u16, Flaw> {
    fields.reserved(1)?;
    let id = fields.u16()?;
    fields.reserved(4)?;
    Ok(id)
}

fn decode_cursor<'a>(fields: &mut Fields<'a>) -> Result<CatalogueRecord<'a>, Flaw> {
    let flags = fields.u8()?;
    fields.reserved(4)?;
    let name_len = fields.u16()?;
    let number = fields.u64()?;
    let name = decode_name(fields, name_len)?;
    if flags & !HAS_SEQNO != 0 || number > SEQNO_MAX {
        return Err(Flaw::Damaged(format!("a cursor has flags {flags:#04x} and seqno {number}")));
    }
    let seqno = optional(flags & HAS_SEQNO, number)?.map(Seqno::from);
    Ok(CatalogueRecord::Cursor { name, seqno })
}

/// A field that counts if its flag is set, and is zero otherwise.
fn optional(flag: u8, field: u64) -> Result<Option<u64>, Flaw> {
    match (flag, field) {
        (0, 0) => Ok(None),
        (0, _) => Err(Flaw::Damaged(format!("a field without its flag is {field}, not zero"))),
        _ => Ok(Some(field)),
    }
}

fn decode_name<'a>(fields: &mut Fields<'a>, len: u16) -> Result<&'a str, Flaw> {
    str::from_utf8(fields.bytes(usize::from(len))?)
        .map_err(|error| Flaw::Damaged(format!("a name is not UTF-8: {error}")))
}

fn name_len(name: &str) -> u16 {
    u16::try_from(name.len()).expect("the caller has checked the name's length")
}

fn is_value_align(align: u16) -> bool {
    align.is_power_of_two() && (8..=4096).contains(&align)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::{CatalogueRecord, KeyspaceCreate, NAME_LEN_MAX, PAYLOAD_LEN_MAX};
    use crate::address::Seqno;
    use crate::format::record::{Draft, Flaw, Header, Kind};
    use crate::format::{cases, edit, edits, hex};
    use crate::limits::{LARGE_VALUE_LEN, SEQNO_MAX};
    use proptest::prelude::*;

    fn header(kind: Kind, keyspace: u16) -> Header {
        let mut record = Vec::new();
        let value: &[u8] = if kind == Kind::PutLarge { &[1; LARGE_VALUE_LEN] } else { &[] };
        Draft { kind, keyspace, key: &[], value, expiry: None }.encode(&mut record);
        Header::decode(&record).unwrap()
    }

    const CREATE: KeyspaceCreate<'_> = KeyspaceCreate {
        id: 0x0102,
        name: "s\u{e9}ance",
        ordered: true,
        value_align: 4096,
        default_ttl_ms: Some(86_400_000),
    };

    #[test]
    fn payloads_have_the_documented_bytes() {
        let seqno = Some(Seqno::from(0x06_0504_0302));
        for (record, expected) in [
            (CatalogueRecord::Create(CREATE), "04 03 0201 0010 0700 005c260500000000 73c3a9616e6365"),
            (
                CatalogueRecord::Create(KeyspaceCreate {
                    id: 0,
                    name: "",
                    ordered: false,
                    value_align: 8,
                    default_ttl_ms: None,
                }),
                "04 00 0000 0800 0000 0000000000000000",
            ),
            (CatalogueRecord::Drop(0x0102), "05 00 0201 00000000"),
            (CatalogueRecord::Clear(0x0102), "06 00 0201 00000000"),
            (CatalogueRecord::Cursor { name: "c", seqno }, "07 01 00000000 0100 0203040506000000 63"),
            (CatalogueRecord::Cursor { name: "c", seqno: None }, "07 00 00000000 0100 0000000000000000 63"),
        ] {
            assert_eq!(record.encode(), hex(expected), "{record:?}");
        }
    }

    #[test]
    fn a_payload_of_another_kind_or_keyspace_is_refused() {
        let payload = CatalogueRecord::Drop(3).encode();
        assert!(CatalogueRecord::decode(&header(Kind::KeyspaceDrop, 3), &payload).is_ok());
        assert!(CatalogueRecord::decode(&header(Kind::KeyspaceDrop, 4), &payload).is_err());
        assert!(CatalogueRecord::decode(&header(Kind::KeyspaceClear, 3), &payload).is_err());
        for kind in [Kind::Put, Kind::PutLarge, Kind::Delete, Kind::Pad] {
            let mut payload = payload.clone();
            payload[0] = kind as u8;
            assert!(CatalogueRecord::decode(&header(kind, 3), &payload).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn zeros_are_no_payload() {
        for kind in [Kind::KeyspaceCreate, Kind::KeyspaceDrop, Kind::KeyspaceClear, Kind::Cursor] {
            for len in 0..40 {
                let zeros = vec![0; len];
                let decoded = CatalogueRecord::decode(&header(kind, 0), &zeros);
                assert!(matches!(decoded, Err(Flaw::Damaged(_))), "{kind:?}, {len} bytes");
            }
        }
    }

    #[test]
    fn what_no_keyspace_and_no_cursor_has_is_refused() {
        let create = CatalogueRecord::Create(CREATE).encode();
        let cursor = CatalogueRecord::Cursor { name: "c", seqno: None }.encode();
        let refused = |payload: &[u8], at: usize, bytes: &[u8]| {
            let mut payload = payload.to_vec();
            payload[at..at + bytes.len()].copy_from_slice(bytes);
            let kind = if payload[0] == 4 { Kind::KeyspaceCreate } else { Kind::Cursor };
            let keyspace = if payload[0] == 4 { CREATE.id } else { 0 };
            CatalogueRecord::decode(&header(kind, keyspace), &payload).is_err()
        };
        assert!(!refused(&create, 0, &[4]) && !refused(&cursor, 0, &[7]), "as they are");
        assert!(refused(&create, 1, &[7]), "an unknown flag");
        assert!(refused(&create, 1, &[1]), "a ttl without its flag");
        for align in [0_u16, 1, 4, 9, 24, 8192] {
            assert!(refused(&create, 4, &align.to_le_bytes()), "align {align}");
        }
        assert!(refused(&create, 6, &[6]) && refused(&create, 6, &[8]), "another length of the name");
        assert!(refused(&create, 17, &[0xff]), "a name that is no UTF-8");
        assert!(refused(&cursor, 1, &[2]), "an unknown flag");
        assert!(refused(&cursor, 2, &[1]) && refused(&cursor, 5, &[1]), "reserved bytes");
        assert!(refused(&cursor, 8, &[1]), "a seqno without its flag");
        let far = [&[1, 0, 0, 0, 0, 1, 0][..], &(SEQNO_MAX + 1).to_le_bytes()].concat();
        assert!(refused(&cursor, 1, &far), "a seqno of 49 bits");
        let last = [&[1, 0, 0, 0, 0, 1, 0][..], &SEQNO_MAX.to_le_bytes()].concat();
        assert!(!refused(&cursor, 1, &last), "the last seqno of all");
    }

    #[test]
    fn the_longest_payload_makes_a_keyspace_with_the_longest_name() {
        let name = "n".repeat(NAME_LEN_MAX);
        let create = CatalogueRecord::Create(KeyspaceCreate { name: &name, ..CREATE });
        let cursor = CatalogueRecord::Cursor { name: &name, seqno: Some(Seqno::from(1)) };
        assert_eq!((create.encode().len() as u64, cursor.encode().len() as u64), (PAYLOAD_LEN_MAX, PAYLOAD_LEN_MAX));
    }

    fn records() -> impl Strategy<Value = (Kind, String, u16, u32, Option<u64>, bool)> {
        let kinds =
            prop::sample::select(vec![Kind::KeyspaceCreate, Kind::KeyspaceDrop, Kind::KeyspaceClear, Kind::Cursor]);
        let names = prop_oneof![9 => ".{0,12}", 1 => Just("n".repeat(NAME_LEN_MAX))];
        (kinds, names, any::<u16>(), 3..=12_u32, any::<Option<u64>>(), any::<bool>())
    }

    fn record(kind: Kind, name: &str, id: u16, align: u32, number: Option<u64>, ordered: bool) -> CatalogueRecord<'_> {
        match kind {
            Kind::KeyspaceDrop => CatalogueRecord::Drop(id),
            Kind::KeyspaceClear => CatalogueRecord::Clear(id),
            Kind::Cursor => {
                let seqno = number.map(|number| Seqno::from(number & SEQNO_MAX));
                CatalogueRecord::Cursor { name, seqno }
            }
            _ => CatalogueRecord::Create(KeyspaceCreate {
                id,
                name,
                ordered,
                value_align: 1 << align,
                default_ttl_ms: number,
            }),
        }
    }

    proptest! {
        #![proptest_config(cases(1024))]

        #[test]
        fn a_payload_says_what_was_written(
            (kind, name, id, align, number, ordered) in records(), cut in 1..99_usize,
        ) {
            let record = record(kind, &name, id, align, number, ordered);
            let mut payload = record.encode();
            let draft = record.draft(&payload);
            prop_assert_eq!((draft.kind, draft.keyspace, draft.value), (kind, record.keyspace(), &payload[..]));
            let header = header(kind, record.keyspace());
            prop_assert_eq!(CatalogueRecord::decode(&header, &payload), Ok(record));
            let short = payload.len().saturating_sub(cut);
            prop_assert!(CatalogueRecord::decode(&header, &payload[..short]).is_err());
            payload.push(0);
            prop_assert!(CatalogueRecord::decode(&header, &payload).is_err());
        }

        #[test]
        fn nothing_is_accepted_that_is_never_written(
            (kind, name, id, align, number, ordered) in records(), edits in edits(),
        ) {
            let record = record(kind, &name, id, align, number, ordered);
            let mut payload = record.encode();
            edit(&mut payload, &edits);
            if let Ok(decoded) = CatalogueRecord::decode(&header(kind, record.keyspace()), &payload) {
                prop_assert_eq!(decoded.encode(), payload);
            }
        }
    }
}
