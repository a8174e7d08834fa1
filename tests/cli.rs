//! The binary: each verb, its exit codes and its one-line errors, export and import, the demo.
#![cfg(feature = "cli")]

#[path = "cli/backups.rs"]
mod backups;
#[path = "cli/made.rs"]
mod made;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

#[path = "cli/cursors.rs"]
mod cursors;
#[path = "cli/inspect.rs"]
mod inspect;
#[path = "cli/keyspaces.rs"]
mod keyspaces;
#[path = "cli/times.rs"]
mod times;

/// A temporary folder; stores and files are made in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs the binary in this folder.
    fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, b"")
    }

    fn run_with(&self, args: &[&str], stdin: &[u8]) -> Done {
        let mut child = Command::new(env!("CARGO_BIN_EXE_zipcask"))
            .args(args)
            .current_dir(self.0.path())
            .env("TMPDIR", self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Not every verb reads it.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        Done(child.wait_with_output().unwrap())
    }
}

/// What a run left.
struct Done(Output);

impl Done {
    fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    /// It went well and said nothing on stderr; returns stdout.
    #[track_caller]
    fn fine(&self) -> String {
        assert_eq!((self.code(), self.stderr().as_str()), (0, ""));
        self.stdout()
    }

    /// It ended with `code` and one line on stderr, which is returned without `zipcask: `.
    #[track_caller]
    fn failed(&self, code: i32) -> String {
        let stderr = self.stderr();
        assert_eq!(self.code(), code, "{stderr}");
        let line = stderr.strip_prefix("zipcask: ").and_then(|line| line.strip_suffix('\n'));
        let line = line.unwrap_or_else(|| panic!("no line of ours: {stderr:?}"));
        assert!(!line.contains('\n'), "more than one line: {stderr:?}");
        line.to_string()
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_value_that_was_put_is_got_back_byte_for_byte() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["put", "store", "name", "v\u{e4}lue"]).fine(), "");
    assert_eq!(folder.run(&["get", "store", "name"]).fine(), "v\u{e4}lue");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    folder.run_with(&["put", "store", "name", "-"], &bytes).fine();
    assert_eq!(folder.run(&["get", "store", "name"]).0.stdout, bytes);
    folder.run(&["put", "store", "-5", "-7"]).fine();
    assert_eq!(folder.run(&["get", "store", "-5"]).fine(), "-7");
}

#[test]
fn binary_keys_and_values_are_given_in_hex_and_base64() {
    let folder = Folder::new();
    folder.run(&["put", "--hex", "store", "00ff0A", "c3"]).fine();
    assert_eq!(folder.run(&["get", "--base64", "store", "AP8K"]).0.stdout, [0xc3]);
    assert_eq!(folder.run(&["scan", "store"]).fine(), "\\0\\xff\\n\t\\xc3\n");
    assert_eq!(
        folder.run(&["scan", "store", "--json"]).fine(),
        "{\"key_base64\":\"AP8K\",\"value_base64\":\"ww==\"}\n"
    );
    let of = |args: &[&str]| folder.run(args).failed(2);
    assert_eq!(of(&["get", "--hex", "store", "0g"]), "KEY is not hexadecimal");
    assert_eq!(of(&["put", "--hex", "store", "00", "123"]), "VALUE is not hexadecimal: it has half a byte too much");
    assert!(of(&["get", "--base64", "store", "!"]).starts_with("KEY is not base64: "));
}

#[test]
fn del_says_whether_the_key_was_there() {
    let folder = Folder::new();
    folder.run(&["put", "store", "a", "1"]).fine();
    assert_eq!(folder.run(&["del", "store", "a"]).fine(), "deleted a\n");
    assert_eq!(folder.run(&["del", "store", "a"]).failed(1), "there is no key \"a\"");
    assert_eq!(folder.run(&["get", "store", "a b"]).failed(1), "there is no key \"a b\"");
}

#[test]
fn no_verb_that_reads_makes_a_store() {
    let folder = Folder::new();
    for verb in [
        &["get", "none", "key"][..],
        &["del", "none", "key"],
        &["scan", "none"],
        &["stats", "none"],
        &["verify", "none"],
        &["export", "none"],
        &["compact", "none"],
    ] {
        let line = folder.run(verb).failed(1);
        assert_eq!(line, "there is no store in none", "{verb:?}");
        assert!(!folder.path("none").exists(), "{verb:?}");
    }
    fs::create_dir(folder.path("none")).unwrap();
    let line = folder.run(&["stats", "none"]).failed(1);
    assert_eq!(line, "there is no store in none");
    assert_eq!(fs::read_dir(folder.path("none")).unwrap().count(), 0);
}

#[test]
fn the_verbs_that_read_work_beside_a_process_that_writes() {
    let folder = Folder::new();
    let db = zipcask::Db::open(folder.path("s")).unwrap();
    db.put("apple", "red").unwrap();
    assert_eq!(folder.run(&["get", "s", "apple"]).fine(), "red");
    assert_eq!(folder.run(&["scan", "s"]).fine(), "apple\tred\n");
    assert_eq!(json(&folder.run(&["stats", "s", "--json"]).fine())["live_keys"], 1);
    assert_eq!(json(&folder.run(&["verify", "s", "--json"]).fine())["clean"], true);
    assert!(folder.run(&["export", "s"]).fine().contains("apple"));
    assert!(folder.run(&["put", "s", "pear", "green"]).failed(4).contains("is open in"));
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_alone() {
    let folder = Folder::new();
    folder.file("other/notes.txt", "mine");
    let line = folder.run(&["put", "other", "key", "value"]).failed(4);
    assert!(line.ends_with("not a zipcask store; choose an empty directory for one"), "{line}");
    let line = folder.run(&["get", "other", "key"]).failed(4);
    assert!(line.ends_with("not a zipcask store; check the path"), "{line}");
    assert_eq!(fs::read_dir(folder.path("other")).unwrap().count(), 1);
}

#[test]
fn a_wrong_command_line_is_one_line_and_exit_code_2() {
    let folder = Folder::new();
    for args in [
        &["put", "store"][..],
        &["frob"],
        &["scan", "store", "--limit", "x"],
        &["get", "store", "k", "--hex", "--base64"],
        &["demo", "--key", "id"],
    ] {
        folder.run(args).failed(2);
    }
    let line = folder.run(&["put", "store"]).failed(2);
    assert!(line.contains("<KEY> <VALUE>"), "{line}");
    assert_eq!(folder.run(&[]).code(), 2);
}

#[test]
fn help_documents_the_exit_codes() {
    let help = Folder::new().run(&["--help"]).fine();
    for line in ["  0  ", "  1  not found", "  2  ", "  3  damage", "  4  "] {
        assert!(help.contains(line), "{line:?} in {help}");
    }
    assert!(!help.contains("demo-load"));
}

#[test]
fn incr_adds_and_shows_the_sum() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["incr", "db", "visits"]).stdout(), "1\n");
    assert_eq!(folder.run(&["incr", "db", "visits", "-5"]).stdout(), "-4\n");
    folder.run(&["put", "db", "word", "text"]);
    let refused = folder.run(&["incr", "db", "word"]);
    assert_eq!((refused.0.status.code(), refused.stdout()), (Some(4), String::new()));
    assert!(
        refused.stderr().contains("the value of \"word\" is no number as increment keeps them"),
        "{}",
        refused.stderr()
    );
}

#[test]
fn tail_shows_what_was_written_in_its_order() {
    let folder = Folder::new();
    folder.run(&["put", "db", "a", "1"]);
    folder.run(&["put", "db", "b", "x\ty"]);
    folder.run(&["del", "db", "a"]);
    assert_eq!(folder.run(&["tail", "db"]).stdout(), "1\tput\ta\t1\n2\tput\tb\tx\\ty\n3\tdelete\ta\n");
    let json = folder.run(&["tail", "db", "--from", "2", "--json"]).stdout();
    let put = "{\"seqno\":2,\"keyspace\":\"default\",\"key\":\"b\",\"value\":\"x\\ty\"}\n";
    assert_eq!(json, format!("{put}{{\"seqno\":3,\"keyspace\":\"default\",\"key\":\"a\"}}\n"));
    folder.run(&["compact", "db"]);
    let gone = folder.run(&["tail", "db"]);
    assert_eq!((gone.0.status.code(), gone.stdout()), (Some(4), String::new()));
    assert!(gone.stderr().contains("the first write that is left is 4"), "{}", gone.stderr());
}

#[test]
fn scan_sorts_escapes_and_limits() {
    let folder = Folder::new();
    for (key, value) in [("b/2", "x\ty"), ("a", "back\\slash"), ("b/1", "\"it's\""), ("", "")] {
        folder.run(&["put", "store", key, value]).fine();
    }
    let scan = |args: &[&str]| folder.run(&[&["scan", "store"], args].concat()).fine();
    assert_eq!(scan(&[]), "\t\na\tback\\\\slash\nb/1\t\"it's\"\nb/2\tx\\ty\n");
    assert_eq!(scan(&["--keys", "--prefix", "b/"]), "b/1\nb/2\n");
    assert_eq!(scan(&["--keys", "--limit", "2"]), "\na\n");
    assert_eq!(scan(&["--json", "--prefix", "b/2"]), "{\"key\":\"b/2\",\"value\":\"x\\ty\"}\n");
    assert_eq!(scan(&["--json", "--keys", "--prefix", "a"]), "{\"key\":\"a\"}\n");
}

#[test]
fn stats_and_verify_count() {
    let folder = Folder::new();
    for key in ["a", "b"] {
        folder.run(&["put", "store", key, "value"]).fine();
    }
    let stats = json(&folder.run(&["stats", "store", "--json"]).fine());
    assert_eq!(stats["live_keys"], 2);
    assert_eq!(stats["segments"].as_array().unwrap().len(), 2);
    assert_eq!(stats["recovery"]["torn_bytes"], 0);
    let text = folder.run(&["stats", "store"]).fine();
    assert!(text.starts_with("keys                              2\nbytes of live records "), "{text}");

    let report = json(&folder.run(&["verify", "store", "--json"]).fine());
    assert_eq!((&report["clean"], &report["records"]), (&true.into(), &2.into()));
    let text = folder.run(&["verify", "store"]).fine();
    assert!(text.ends_with(": all as written\n"), "{text}");
}

/// Changes a byte in the middle of the first place where `text` stands in a segment of `store`.
fn rot(store: &Path, text: &str) {
    for entry in fs::read_dir(store.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(text.len()).position(|at| at == text.as_bytes());
        if let Some(at) = at {
            bytes[at + text.len() / 2] ^= 1;
            return fs::write(&path, bytes).unwrap();
        }
    }
    panic!("{text} is in no segment");
}

#[test]
fn damage_is_a_line_for_each_problem_and_exit_code_3() {
    let folder = Folder::new();
    folder.run(&["put", "store", "good", "as it was"]).fine();
    folder.run(&["put", "store", "rotten", "value that rots"]).fine();
    rot(&folder.path("store"), "value that rots");

    let verify = folder.run(&["verify", "store"]);
    verify.failed(3);
    let stdout = verify.stdout();
    assert!(stdout.contains("is damaged at offset"), "{stdout}");
    let report = json(&folder.run(&["verify", "store", "--json"]).stdout());
    assert_eq!(report["clean"], false);
    let problems = report["problems"].as_array().unwrap().len();
    assert!(0 < problems);
    assert_eq!(stdout.lines().count(), problems + 1, "{stdout}");

    folder.run(&["get", "store", "rotten"]).failed(3);
    assert_eq!(folder.run(&["get", "store", "good"]).fine(), "as it was");
    for verb in ["scan", "export"] {
        let run = folder.run(&[verb, "store"]);
        assert!(run.failed(3).starts_with("left out 1 damaged record ("));
        assert_eq!(run.stdout().lines().count(), 1, "the other record is shown");
    }
}

#[test]
fn a_damaged_large_value_is_found_by_its_file() {
    let folder = Folder::new();
    folder.run(&["put", "store", "good", "as it was"]).fine();
    folder.run_with(&["put", "store", "large", "-"], &[7; 2_000_000]).fine();
    let path = fs::read_dir(folder.path("store/large")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    bytes[1_000_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let verify = folder.run(&["verify", "store"]);
    verify.failed(3);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(verify.stdout().contains(name), "{}", verify.stdout());
    folder.run(&["get", "store", "large"]).failed(3);
    assert_eq!(folder.run(&["get", "store", "good"]).fine(), "as it was");
}

#[test]
fn an_export_imported_and_exported_again_is_the_same_file() {
    let folder = Folder::new();
    let all_bytes: Vec<u8> = (0..=255).collect();
    for (key, value) in [
        ("00", &all_bytes[..]),
        ("ff00", b"text\n\"quoted\" \\ \x07"),
        ("", b""),
        ("6b6579", "\u{e4}\u{2028}\u{10ffff}".as_bytes()),
        ("1a26e0", &all_bytes.repeat(6000)),
    ] {
        folder.run_with(&["put", "--hex", "one", key, "-"], value).fine();
    }
    folder.run(&["put", "one", "gone", "x"]).fine();
    folder.run(&["del", "one", "gone"]).fine();

    let exported = folder.run(&["export", "one"]).fine();
    assert_eq!(exported.lines().count(), 5);
    let file = folder.file("one.jsonl", &exported);
    let imported = folder.run(&["import", "two", file.to_str().unwrap()]).fine();
    assert_eq!(imported, "imported 5 records\n");
    assert_eq!(folder.run(&["export", "two"]).fine(), exported);
    let imported = folder.run_with(&["import", "three", "-", "--no-sync"], exported.as_bytes());
    imported.fine();
    assert_eq!(folder.run(&["export", "three"]).fine(), exported);
    assert_eq!(folder.run(&["get", "--hex", "three", "00"]).0.stdout, all_bytes);
}

#[test]
fn import_by_a_field_stores_whole_lines() {
    let folder = Folder::new();
    let text = "{\"id\": \"a\\u00e4\", \"n\": 1e3}\n\n{\"n\":12345678901234567890123,\"id\":\"b\"}\r\n{\"id\":\"c\",\"n\":-0.50}";
    let file = folder.file("data.jsonl", text);
    let import = |store: &str, field: &str| {
        let file = file.to_str().unwrap();
        folder.run(&["import", store, file, "--key", field])
    };
    assert_eq!(import("by-id", "id").fine(), "imported 3 records\n");
    assert_eq!(folder.run(&["get", "by-id", "a\u{e4}"]).fine(), "{\"id\": \"a\\u00e4\", \"n\": 1e3}");
    assert_eq!(folder.run(&["get", "by-id", "b"]).fine(), "{\"n\":12345678901234567890123,\"id\":\"b\"}");
    import("by-n", "n").fine();
    let keys = folder.run(&["scan", "by-n", "--keys"]).fine();
    assert_eq!(keys, "-0.50\n12345678901234567890123\n1e3\n", "numbers as they are written");
    let line = import("none", "x").failed(4);
    assert!(line.ends_with("data.jsonl:1: no field \"x\""), "{line}");
    assert!(!folder.path("none").exists(), "no store for a file whose first line is bad");
    let one = folder.run_with(&["import", "one", "-"], b"{\"key\":\"a\",\"value\":\"\"}");
    assert_eq!(one.fine(), "imported 1 record\n");
}

#[test]
fn a_bad_line_is_named_and_the_batches_before_it_stay() {
    let folder = Folder::new();
    let mut text: String = (0..2500).map(|n| format!("{{\"key\":\"{n}\",\"value\":\"v\"}}\n")).collect();
    text += "{\"key\":\"last\"}\n";
    let file = folder.file("data.jsonl", text);
    let line = folder.run(&["import", "store", file.to_str().unwrap()]).failed(4);
    assert!(line.contains("data.jsonl:2501: no field \"value\" or \"value_base64\""), "{line}");
    assert!(line.ends_with("; 2,000 records stored before"), "{line}");
    let keys = folder.run(&["scan", "store", "--keys"]).fine();
    assert_eq!(keys.lines().count(), 2000);
}

#[test]
fn import_says_what_is_wrong_with_a_line() {
    let folder = Folder::new();
    let long = format!("{{\"key\":\"{}\",\"value\":\"\"}}", "k".repeat(65_536));
    for (line, what) in [
        ("{\"key\":\"a\",\"value\":\"b\"", "not a JSON object: EOF while parsing an object at column 22"),
        ("[1]", "not a JSON object: "),
        ("{\"key\":\"a\",\"value\":5}", "field \"value\" is not a string"),
        ("{\"key\":\"a\",\"value\":\"\",\"ttl\":5}", "unknown field \"ttl\"; `--key FIELD` stores whole lines"),
        ("{\"key\":\"a\",\"key_base64\":\"YQ==\",\"value\":\"\"}", "both fields \"key\" and \"key_base64\""),
        ("{\"key\":\"a\",\"value_base64\":\"%\"}", "field \"value_base64\" is not base64"),
        ("{\"key\":\"\\ud800\",\"value\":\"\"}", "field \"key\" is no text: "),
        (&long, "the key has 65536 bytes; 65535 are the most"),
    ] {
        let failed = folder.run_with(&["import", "store", "-"], line.as_bytes()).failed(4);
        let expected = format!("stdin:1: {what}");
        assert!(failed.starts_with(&expected), "{failed:?} for {expected:?}");
    }
    let failed = folder.run_with(&["import", "store", "-"], b"{\"key\":\"\xff\"}").failed(4);
    assert!(failed.starts_with("stdin:1: not UTF-8 from byte 9 on"), "{failed}");
    let failed = folder.run(&["import", "new", "missing.jsonl"]).failed(4);
    assert!(failed.starts_with("cannot read missing.jsonl: "), "{failed}");
    assert!(!folder.path("new").exists());
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let folder = Folder::new();
    let line = |n: u32| format!("{{\"key\":\"{n}\",\"value\":\"{}\"}}\n", "v".repeat(100));
    let text: String = (0..20_000).map(line).collect();
    folder.run_with(&["import", "store", "-", "--no-sync"], text.as_bytes()).fine();
    let mut child = Command::new(env!("CARGO_BIN_EXE_zipcask"))
        .args(["export", "store"])
        .current_dir(folder.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(Done(child.wait_with_output().unwrap()).fine(), "");
}

/// The only archive of `store`, as an argument.
fn archive_of(folder: &Folder, store: &str) -> String {
    let mut archives = fs::read_dir(folder.path(store).join("archives")).unwrap();
    let archive = archives.next().unwrap().unwrap().file_name().into_string().unwrap();
    assert!(archives.next().is_none());
    format!("{store}/archives/{archive}")
}

#[test]
fn compact_says_what_it_gave_back() {
    let folder = Folder::new();
    let line = |n: u32| format!("{{\"key\":\"{}\",\"value\":\"{}\"}}\n", n % 100, "v".repeat(100));
    let text: String = (0..5000).map(line).collect();
    folder.run_with(&["import", "store", "-", "--no-sync"], text.as_bytes()).fine();
    let before = json(&folder.run(&["stats", "store", "--json"]).fine());
    assert!(before["debt_bytes"].as_u64().unwrap() > 100_000, "{before}");
    let told = json(&folder.run(&["compact", "store", "--json"]).fine());
    assert_eq!(told["before"]["disk_bytes"], before["disk_bytes"]);
    assert_eq!(
        (&told["done"]["archives"], &told["done"]["records"], &told["done"]["decisions"]["dead"]),
        (&1.into(), &100.into(), &1.into())
    );
    let after = json(&folder.run(&["stats", "store", "--json"]).fine());
    assert_eq!((&after["dead_bytes"], &after["live_keys"]), (&0.into(), &100.into()));
    assert_eq!(told["after"]["archived_bytes"], after["archived_bytes"]);
    assert_eq!(
        (&after["segments"][0]["file"], &after["segments"][0]["archived"]),
        (&"archives/0000000001.zip (packed/0000000001.seg)".into(), &true.into())
    );
    let text = folder.run(&["compact", "store"]).fine();
    assert!(text.ends_with("jobs: none, nothing was to be done\n"), "{text}");
    folder.run(&["verify", "store"]).fine();
}

#[cfg(feature = "deflate")]
#[test]
fn compact_compresses_if_asked_and_ls_says_so() {
    let folder = Folder::new();
    let line = |n: u32| format!("{{\"key\":\"{n}\",\"value\":\"{}\"}}\n", "v".repeat(100));
    let text: String = (0..5000).map(line).collect();
    folder.run_with(&["import", "store", "-", "--no-sync"], text.as_bytes()).fine();
    let exported = folder.run(&["export", "store"]).fine();
    let told = json(&folder.run(&["compact", "store", "--compress", "deflate", "--json"]).fine());
    assert!(told["after"]["archived_bytes"].as_u64().unwrap() < 200_000, "{told}");
    let zip = archive_of(&folder, "store");
    let facts = json(&folder.run(&["archive", "ls", &zip, "--json"]).fine());
    let [packed, len] = ["packed_len", "len"].map(|field| facts["entries"][0][field].as_u64().unwrap());
    assert!(len > 500_000 && packed < 100_000, "{facts}");
    assert!(folder.run(&["archive", "ls", &zip]).fine().contains("unpacked"));
    assert_eq!(folder.run(&["archive", "extract", &zip]).fine(), exported);
    folder.run(&["archive", "verify", &zip]).fine();
    assert_eq!(folder.run(&["compact", "store", "--compress", "lzma"]).code(), 2);
}

#[test]
fn stats_draw_a_bar_for_each_segment() {
    let folder = Folder::new();
    folder.run(&["put", "store", "a", &"v".repeat(1000)]).fine();
    folder.run(&["put", "store", "b", &"v".repeat(470)]).fine();
    folder.run(&["put", "store", "a", &"v".repeat(470)]).fine();
    let text = folder.run(&["stats", "store"]).fine();
    let bars: Vec<_> = text.lines().filter(|line| line.starts_with("segments/")).collect();
    let bar = |char: &str, width: usize| format!("{:<40}", char.repeat(width));
    let expected = [
        format!("segments/0000000001.seg {}   1.02 KiB   0 % live", bar(".", 40)),
        format!("segments/0000000002.seg {}      512 B 100 % live", bar("#", 19)),
        format!("segments/0000000003.seg {}      512 B 100 % live", bar("#", 19)),
    ];
    assert_eq!(bars, expected, "{text}");
}

#[test]
fn an_archive_is_read_without_its_store() {
    let folder = Folder::new();
    folder.run(&["put", "store", "a b", "first"]).fine();
    folder.run(&["put", "--hex", "store", "00ff", "0a"]).fine();
    folder.run(&["put", "store", "gone", "x"]).fine();
    folder.run(&["del", "store", "gone"]).fine();
    let exported = folder.run(&["export", "store"]).fine();
    folder.run(&["compact", "store"]).fine();
    let zip = archive_of(&folder, "store");
    fs::rename(folder.path(&zip), folder.path("copy.zip")).unwrap();
    fs::remove_dir_all(folder.path("store")).unwrap();

    let facts = json(&folder.run(&["archive", "ls", "copy.zip", "--json"]).fine());
    assert_eq!((&facts["covers"], &facts["records"]), (&serde_json::json!([1, 4]), &2.into()));
    assert_eq!(facts["file_bytes"], fs::metadata(folder.path("copy.zip")).unwrap().len());
    let text = folder.run(&["archive", "ls", "copy.zip"]).fine();
    assert!(text.contains("in place of segments 1 to 4, writes 1 to 4\n"), "{text}");
    assert!(text.lines().any(|line| line.ends_with("            2  packed/0000000001.seg")), "{text}");

    assert_eq!(folder.run(&["archive", "cat", "copy.zip", "a b"]).fine(), "first");
    assert_eq!(folder.run(&["archive", "cat", "--hex", "copy.zip", "00ff"]).0.stdout, b"\n");
    assert_eq!(folder.run(&["archive", "cat", "copy.zip", "gone"]).failed(1), "there is no key \"gone\"");
    let text = folder.run(&["archive", "verify", "copy.zip"]).fine();
    assert!(text.starts_with("checked 1 file, 2 records, ") && text.ends_with(": all as written\n"), "{text}");
    let extracted = folder.run(&["archive", "extract", "copy.zip"]).fine();
    assert_eq!(extracted, exported);
    folder.run_with(&["import", "again", "-"], extracted.as_bytes()).fine();
    assert_eq!(folder.run(&["export", "again"]).fine(), exported);
}

#[test]
fn an_archive_that_is_none_or_damaged_is_told_of() {
    let folder = Folder::new();
    folder.file("text.zip", "a text");
    folder.run(&["put", "store", "good", "as it was"]).fine();
    folder.run(&["put", "store", "rotten", "value that rots"]).fine();
    folder.run(&["compact", "store"]).fine();
    let zip = archive_of(&folder, "store");
    let mut bytes = fs::read(folder.path(&zip)).unwrap();
    let at = bytes.windows(15).position(|at| at == b"value that rots").unwrap();
    bytes[at] ^= 1;
    folder.file("rotten.zip", &bytes);
    for verb in ["ls", "cat", "extract", "verify"] {
        let run = |file: &str| match verb {
            "cat" => folder.run(&["archive", verb, file, "rotten"]),
            _ => folder.run(&["archive", verb, file]),
        };
        assert!(run("none.zip").failed(1).starts_with("cannot open none.zip: "));
        let line = run("text.zip").failed(3);
        assert!(line.contains("text.zip is damaged at offset 6: "), "{line}");
        run(".").failed(4);
        if verb == "ls" {
            run("rotten.zip").fine();
        } else {
            run("rotten.zip").failed(3);
        }
    }
    let extracted = folder.run(&["archive", "extract", "rotten.zip"]);
    assert!(extracted.failed(3).starts_with("left out 1 record, among them: "));
    assert_eq!(extracted.stdout(), "{\"key\":\"good\",\"value\":\"as it was\"}\n");
    let verified = folder.run(&["archive", "verify", "rotten.zip", "--json"]);
    assert_eq!(verified.failed(3), "2 problems found");
    assert_eq!(json(&verified.stdout())["clean"], false);
    assert_eq!(folder.run(&["archive"]).code(), 2);
}

#[test]
fn a_large_value_is_not_in_an_archive_and_its_file_is_named() {
    let folder = Folder::new();
    folder.run(&["put", "store", "small", "here"]).fine();
    folder.run_with(&["put", "store", "large", "-"], &[7; 2_000_000]).fine();
    folder.run(&["compact", "store"]).fine();
    let (zip, file) = (archive_of(&folder, "store"), fs::read_dir(folder.path("store/large")).unwrap());
    let name = file.map(|entry| entry.unwrap().file_name().into_string().unwrap()).next().unwrap();
    let line = folder.run(&["archive", "cat", &zip, "large"]).failed(1);
    assert!(line.ends_with(&format!("its 2000000 bytes are in the file large/{name} of the store")), "{line}");
    let extracted = folder.run(&["archive", "extract", &zip]);
    assert!(extracted.failed(1).starts_with("left out 1 record, among them: the value of \"large\" is not in "));
    assert_eq!(extracted.stdout().lines().count(), 1);
}

/// Runs the demo on `input` into `kept`, and checks what it says and leaves of `count` records.
#[track_caller]
fn demo(folder: &Folder, args: &[&str], count: u64) -> String {
    let text = folder.run(&[&["demo", "--dir", "kept"], args].concat()).fine();
    for part in [
        "every acknowledged record is there byte for byte",
        "recovery time",
        "every byte read, 1 thread",
        "without the store: ",
        "on disk, packed",
        "kept the store in kept",
        "stats kept",
        "scan kept",
        "verify kept",
        "archive ls ",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let packed = |into: &str| text.contains(&format!("packed      everything into {into}; "));
    // Where all of a file is dead, the background may have been faster, and has made an archive of nothing.
    assert!(packed("1 ZIP archive") || (count == 1 && packed("2 ZIP archives")), "{text}");
    let store = folder.path("kept").join("store");
    let store = store.to_str().unwrap();
    folder.run(&["verify", store]).fine();
    let stats = json(&folder.run(&["stats", store, "--json"]).fine());
    // Every fifth record is deleted, from the second on.
    assert_eq!(stats["live_keys"], count - (count + 3) / 5);
    text
}

#[test]
fn the_demo_takes_a_folder() {
    let folder = Folder::new();
    for n in 0..57_u8 {
        folder.file(&format!("input/{}/{n}", n % 3), vec![n; usize::from(n) * 50]);
    }
    let text = demo(&folder, &["--input", "input"], 57);
    assert!(text.contains("57 records"), "{text}");
    assert!(!folder.path("input/store").exists());
    // Again into the same folder: it is an earlier demo's.
    demo(&folder, &["--input", "input"], 57);
    let store = folder.path("kept/store");
    let keys = folder.run(&["scan", store.to_str().unwrap(), "--keys", "--limit", "2"]).fine();
    assert_eq!(keys, "0/0\n0/15\n");
    let first = folder.run(&["get", store.to_str().unwrap(), "0/0"]).fine();
    assert_eq!(first, "!", "overwritten: backwards and a byte longer");
}

#[test]
fn the_demo_takes_json_lines_and_the_last_of_a_key_counts() {
    let folder = Folder::new();
    let lines: String = (0..30).map(|n| format!("{{\"id\":{},\"n\":{n}}}\n", n % 10)).collect();
    folder.file("data.jsonl", lines);
    demo(&folder, &["--input", "data.jsonl", "--key", "id"], 10);
    let store = folder.path("kept/store");
    let value = folder.run(&["get", store.to_str().unwrap(), "2"]).fine();
    assert_eq!(value, "{\"id\":2,\"n\":22}");
}

#[test]
fn the_demo_works_with_a_single_record() {
    let folder = Folder::new();
    folder.file("data.jsonl", "{\"key\":\"a\",\"value\":\"\"}");
    demo(&folder, &["--input", "data.jsonl"], 1);
}

#[cfg(unix)]
#[test]
fn without_a_folder_the_demo_makes_a_new_temporary_one() {
    let folder = Folder::new();
    folder.file("input/a", "1");
    for count in 1..=2 {
        let text = folder.run(&["demo", "--input", "input"]).fine();
        let kept = text.lines().find_map(|line| line.strip_prefix("kept the store in ")?.strip_suffix("; try"));
        let kept = Path::new(kept.unwrap());
        assert!(kept.join("ZIPCASK").is_file() && kept.starts_with(folder.0.path()), "{text}");
        let folders = fs::read_dir(folder.0.path()).unwrap();
        let demos = folders.filter(|entry| entry.as_ref().unwrap().file_name() != "input");
        assert_eq!(demos.count(), count);
    }
}

#[test]
fn the_demo_refuses_a_folder_that_is_not_its_own() {
    let folder = Folder::new();
    folder.file("input/a", "1");
    folder.file("kept/store/precious", "mine");
    let line = folder.run(&["demo", "--input", "input", "--dir", "kept"]).failed(4);
    assert!(line.starts_with("kept is not empty and no earlier demo's"), "{line}");
    assert_eq!(fs::read(folder.path("kept/store/precious")).unwrap(), b"mine");
}

#[test]
fn the_demo_without_input_names_the_option() {
    let folder = Folder::new();
    let done = Command::new(env!("CARGO_BIN_EXE_zipcask"))
        .arg("demo")
        .env("CARGO_HOME", folder.path("nowhere"))
        .output()
        .unwrap();
    let line = Done(done).failed(4);
    assert!(line.contains("nowhere") && line.contains("--input"), "{line}");
}
