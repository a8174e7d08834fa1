//! Makes the inputs of the corpus that begin with a store: the same ones each time, until the format changes.

use std::path::Path;

use zipcask::sim::Random;
use zipcask_fuzz::base::{Files, bases};
use zipcask_fuzz::{archive, checkpoint, decode, fix, segment, sparse};

fn keep(target: &str, name: &str, input: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    std::fs::write(folder.join(name), input).expect("an input can be kept");
    println!("{target}/{name}: {} bytes", input.len());
}

fn with(head: &[u8], body: &[u8]) -> Vec<u8> {
    [head, body].concat()
}

fn of<'f>(files: &'f Files, folder: &'f str) -> impl Iterator<Item = (&'f str, &'f [u8])> {
    files.iter().filter_map(move |(name, bytes)| Some((name.strip_prefix(folder)?, &bytes[..])))
}

fn main() {
    decoders();
    let bases = bases();
    for (number, (_, bytes)) in of(&bases.closed, "segments/").enumerate() {
        let packed = sparse::close(bytes);
        assert!(sparse::open(&packed) == bytes);
        keep("records", &format!("closed-{number}"), &with(&[!fix::OWNER & !fix::SUMS], &packed));
        let which = number as u8 | segment::CLOSED;
        keep("segment", &format!("closed-{number}"), &with(&[0xff], &with(&[which], &packed)));
    }
    for (number, (_, bytes)) in of(&bases.killed, "segments/").enumerate() {
        let packed = sparse::close(bytes);
        keep("segment", &format!("killed-{number}"), &with(&[0xff & !fix::SUMS, number as u8], &packed));
    }
    let index = sparse::close(&bases.indexed[checkpoint::NAME]);
    keep("checkpoint", "index", &with(&[1], &index));
    keep("decode", "index", &with(&[5, 1], &index));
    for (which, (name, files)) in
        [("packed", &bases.packed), ("deflated", &bases.deflated), ("archived", &bases.archived)]
            .into_iter()
            .enumerate()
    {
        for (number, (_, bytes)) in of(files, "archives/").enumerate() {
            let all = archive::ENTRIES | archive::MANIFEST | archive::RECORDS | archive::DIRECTORY;
            let packed = sparse::close(bytes);
            keep("archive", &format!("{name}-{number}"), &with(&[all & !archive::RECORDS, which as u8], &packed));
            if name == "packed" {
                keep("archive", &format!("{name}-records-{number}"), &with(&[all, which as u8], &packed));
            }
            for (number, hint) in hints(bytes).into_iter().enumerate() {
                keep("hint", &format!("{name}-{number}"), &with(&[3], hint));
            }
            let json = bytes.windows(12).rposition(|window| window == b"{\n  \"format\"").expect("a manifest");
            let end = bytes[json..].windows(4).position(|window| window == b"PK\x01\x02").expect("a directory");
            keep("decode", &format!("manifest-{name}-{number}"), &with(&[4, 0], &bytes[json..json + end]));
        }
    }
    for seed in 0..12 {
        let mut bytes = vec![0; [60, 200, 600][seed as usize % 3]];
        Random::new(seed).fill(&mut bytes);
        keep("history", &format!("seed-{seed:02}"), &bytes);
    }
}

/// The hints in an archive.
fn hints(zip: &[u8]) -> Vec<&[u8]> {
    let starts = (0..zip.len()).step_by(4096).filter(|start| zip[*start..].starts_with(b"ZCHINTS\n"));
    let len = |start: usize| zipcask_fuzz::u64_at(zip, start + 88).expect("a whole header") as usize;
    starts.map(|start| &zip[start..start + len(start)]).collect()
}

fn decoders() {
    let names = [
        "0000000042.seg",
        "new-0000000042",
        "0000000042.hint",
        "0000000007.zip",
        "00c0ffee00c0ffee",
        "0000000042-1048576.bin",
    ];
    let more = ["0123456789abcdef0123456789abcdef.val", "log/0000000042.seg", "packed/18446744073709551615.seg"];
    for (number, name) in names.into_iter().chain(more).enumerate() {
        keep("decode", &format!("name-{number}"), &with(&[0, 0], name.as_bytes()));
    }
    let identity = &bases().closed["ZIPCASK"];
    keep("decode", "identity", &with(&[1, 1], &with(&identity[..96], &identity[512..608])));
    let (_, bytes) = of(&bases().closed, "segments/").next().expect("a segment");
    keep("decode", "segment-header", &with(&[2, 1], &bytes[..72]));
    keep("decode", "horizon", &with(&[2, 1], &bytes[512..536]));
    keep("decode", "footer", &with(&[2, 1], &bytes[bytes.len() - 64..][..36]));
    let record = |kind: u8, keyspace: u8, payload: &[u8]| {
        let mut head = vec![0; 24];
        head[8] = 5;
        head[16] = payload.len() as u8;
        head[20] = keyspace;
        head[22] = kind;
        with(&[3, 0], &with(&head, payload))
    };
    let create = [&[4, 3, 9, 0, 8, 0, 4, 0][..], &60_000_u64.to_le_bytes(), b"name"].concat();
    let cursor = [&[7, 1, 0, 0, 0, 0, 2, 0][..], &77_u64.to_le_bytes(), b"to"].concat();
    let large = [&decode::DATABASE[..], &4500_u64.to_le_bytes(), &[1, 2, 3, 4, 0, 0, 0, 0]].concat();
    keep("decode", "create", &record(4, 9, &create));
    keep("decode", "drop", &record(5, 9, &[5, 0, 9, 0, 0, 0, 0, 0]));
    keep("decode", "clear", &record(6, 9, &[6, 0, 9, 0, 0, 0, 0, 0]));
    keep("decode", "cursor", &record(7, 0, &cursor));
    keep("decode", "large", &record(2, 0, &large));
}
