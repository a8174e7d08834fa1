//! The tree that the rules look at: files as tokens, comments and paths, with what only tests compile marked.

use std::collections::BTreeSet;
use std::path::{Component, Path as FilePath};

use crate::lexer::{Kind, Note, Token, lex};

/// Files of the package: those on disk, or made up by a test.
pub(crate) struct Tree {
    pub(crate) files: Vec<Source>,
}

impl Tree {
    /// `files` are pairs of path (from the package's root, with `/`) and text.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, String)>) -> Tree {
        let mut files: Vec<_> = files.into_iter().map(|(path, text)| Source::new(path, text)).collect();
        let tests: BTreeSet<String> = files.iter().flat_map(Source::test_files).collect();
        for file in &mut files {
            // `x.rs`, `x/mod.rs` and all else in `x/`
            let test = tests.iter().any(|stem| {
                file.path.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
            if test {
                file.test.fill(true);
                file.test_file = true;
            }
        }
        Tree { files }
    }

    /// The Rust and Markdown files of this package.
    pub(crate) fn of_this_package() -> Tree {
        let root = FilePath::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for folder in ["src", "tests", "benches", "loom-tests"] {
            read(root, folder, &mut files);
        }
        assert!(!files.is_empty(), "no sources below {}", root.display());
        Tree::new(files)
    }

    /// The library and the binary.
    pub(crate) fn src(&self) -> impl Iterator<Item = &Source> {
        self.rust().filter(|file| file.path.starts_with("src/"))
    }

    /// Every Rust file.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.iter().any(|file| file.path == path)
    }
}

/// Reads what is below `folder`, which may be missing, in order of names.
fn read(root: &FilePath, folder: &str, files: &mut Vec<(String, String)>) {
    let Ok(entries) = root.join(folder).read_dir() else {
        return;
    };
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            if !name.starts_with('.') && !name.starts_with("target") {
                read(root, &path, files);
            }
        } else if name.ends_with(".rs") || name.ends_with(".md") {
            let bytes = std::fs::read(root.join(&path)).expect("a readable file");
            files.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

/// A file.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) notes: Vec<Note>,
    /// Of each token: whether only tests compile it.
    pub(crate) test: Vec<bool>,
    /// Whether it is a module of tests as a whole.
    pub(crate) test_file: bool,
    /// Of each token: the bracket around it.
    opener: Vec<Option<usize>>,
    /// Of each bracket: the other one of its pair.
    partner: Vec<Option<usize>>,
}

/// A path in the code, such as `std::fs::File`; those of a `use` are written out, one for each name.
pub(crate) struct Path {
    pub(crate) parts: Vec<String>,
    pub(crate) line: usize,
    /// The index of its last token.
    pub(crate) token: usize,
    pub(crate) in_use: bool,
    pub(crate) test: bool,
}

impl Path {
    /// Whether it leads to or through `start` (such as `std::fs`). A lone word is a path in a `use` only.
    pub(crate) fn begins(&self, start: &str) -> bool {
        let mut parts = self.parts.iter();
        (self.in_use || self.parts.len() > 1)
            && start.split("::").all(|part| parts.next().is_some_and(|own| own == part))
    }
}

impl Source {
    fn new(path: String, text: String) -> Source {
        let (tokens, notes) = if path.ends_with(".rs") { lex(&text) } else { Default::default() };
        let count = tokens.len();
        let mut source = Source {
            path,
            text,
            tokens,
            notes,
            test: vec![false; count],
            test_file: false,
            opener: vec![None; count],
            partner: vec![None; count],
        };
        source.match_brackets();
        source.mark_tests();
        source
    }

    /// The text of a token; empty beyond the last.
    pub(crate) fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// Whether the tokens from `at` on are these.
    pub(crate) fn sees(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| self.word(at + ahead) == *word)
    }

    pub(crate) fn is_word(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Word)
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        self.tokens.get(at).or(self.tokens.last()).map_or(1, |token| token.line)
    }

    /// The bracket around a token.
    pub(crate) fn opener(&self, at: usize) -> Option<usize> {
        self.opener.get(at).copied().flatten()
    }

    /// The last token of the group that `opener` opens.
    pub(crate) fn closer(&self, opener: usize) -> usize {
        self.partner[opener].unwrap_or(self.tokens.len() - 1)
    }

    /// A message of a rule.
    pub(crate) fn says(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    fn match_brackets(&mut self) {
        let mut open: Vec<usize> = Vec::new();
        for at in 0..self.tokens.len() {
            let mark = self.tokens[at].kind == Kind::Mark;
            match self.tokens[at].text.as_str() {
                "(" | "[" | "{" if mark => {
                    self.opener[at] = open.last().copied();
                    open.push(at);
                }
                ")" | "]" | "}" if mark => {
                    if let Some(opener) = open.pop() {
                        self.partner[opener] = Some(at);
                        self.partner[at] = Some(opener);
                    }
                    self.opener[at] = open.last().copied();
                }
                _ => self.opener[at] = open.last().copied(),
            }
        }
    }

    /// Marks what stands below a `#[cfg(test)]` or `#[cfg(all(test, ..))]`; all of the file below `#![cfg(test)]`.
    fn mark_tests(&mut self) {
        for at in 0..self.tokens.len() {
            let inner = usize::from(self.sees(at, &["#", "!"]));
            if self.word(at) != "#" || !self.is_test_cfg(at + inner + 1) {
                continue;
            }
            let end = if inner == 1 { self.tokens.len() } else { self.item_end(at) + 1 };
            self.test[at..end].fill(true);
            self.test_file |= inner == 1;
        }
    }

    /// Whether the attribute whose `[` stands at `at` leaves only tests.
    fn is_test_cfg(&self, at: usize) -> bool {
        if !self.sees(at, &["[", "cfg", "("]) {
            return false;
        }
        let group = if self.sees(at + 3, &["all", "("]) { at + 4 } else { at + 2 };
        (group + 1..self.closer(group)).any(|i| self.word(i) == "test" && self.opener(i) == Some(group))
    }

    /// The last token of the item (or field, arm, statement) whose first attribute stands at `at`.
    fn item_end(&self, at: usize) -> usize {
        let mut start = at;
        while self.word(start) == "#" && self.word(start + 1) == "[" {
            start = self.closer(start + 1) + 1;
        }
        let mut first = start;
        if self.word(first) == "pub" {
            first = if self.word(first + 1) == "(" { self.closer(first + 1) + 1 } else { first + 1 };
        }
        let item = [
            "async",
            "const",
            "enum",
            "extern",
            "fn",
            "impl",
            "macro_rules",
            "mod",
            "static",
            "struct",
            "trait",
            "type",
            "union",
            "unsafe",
            "use",
        ];
        let item = item.contains(&self.word(first));
        let mut i = start;
        while i < self.tokens.len() {
            match self.word(i) {
                "{" => return self.closer(i),
                "(" | "[" => i = self.closer(i) + 1,
                ";" => return i,
                "," if !item => return i,
                ")" | "]" | "}" => return i - 1,
                _ => i += 1,
            }
        }
        self.tokens.len() - 1
    }

    /// Where modules that only tests compile lead to, without the ending.
    fn test_files(&self) -> Vec<String> {
        let folder = match self.path.strip_suffix(".rs").unwrap_or(&self.path) {
            "src/lib" => "src",
            stem => stem.strip_suffix("/mod").or(stem.strip_suffix("/main")).unwrap_or(stem),
        };
        let declared = (0..self.tokens.len())
            .filter(|&at| self.word(at) == "mod" && self.word(at + 2) == ";")
            .filter(|&at| self.test[at] && self.opener(at).is_none())
            .map(|at| format!("{folder}/{}", self.word(at + 1)));
        let children = self.children().into_iter();
        let named = children.filter(|&(at, _)| self.test[at]).map(|(_, path)| path.trim_end_matches(".rs").to_owned());
        declared.chain(named).collect()
    }

    /// The files named by `#[path = ".."]`, from the root, each with the attribute's first token.
    pub(crate) fn children(&self) -> Vec<(usize, String)> {
        let attributes = (0..self.tokens.len()).filter(|&at| self.sees(at, &["#", "[", "path", "="]));
        let folder = FilePath::new(&self.path).parent().unwrap_or(FilePath::new(""));
        attributes.map(|at| (at, flat(&folder.join(self.word(at + 4).trim_matches('"'))))).collect()
    }

    /// Every path of the file, test or not.
    pub(crate) fn paths(&self) -> Vec<Path> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if self.is_word(at) && self.word(at) == "use" && self.word(at + 1) != "<" {
                at = self.use_tree(at + 1, &[], &mut found);
            } else if self.is_word(at) {
                let mut parts = vec![self.word(at).to_owned()];
                while self.word(at + 1) == "::" && self.is_word(at + 2) {
                    parts.push(self.word(at + 2).to_owned());
                    at += 2;
                }
                found.push(self.path(parts, at, false));
            }
            at += 1;
        }
        found
    }

    fn path(&self, parts: Vec<String>, token: usize, in_use: bool) -> Path {
        Path { parts, line: self.line(token), token, in_use, test: self.test[token] }
    }

    /// Writes out the names below `prefix` from `at` on; returns the `,`, `;` or closing bracket behind them.
    fn use_tree(&self, mut at: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
        let mut parts = prefix.to_vec();
        while at < self.tokens.len() {
            match self.word(at) {
                "{" => {
                    let end = self.closer(at);
                    while at < end {
                        at = self.use_tree(at + 1, &parts, found);
                    }
                    parts.clear();
                }
                "as" => at += 1,
                "," | ";" | "}" => break,
                "self" if !parts.is_empty() => {}
                "::" | "$" => {}
                word => parts.push(word.to_owned()),
            }
            at += 1;
        }
        if !parts.is_empty() && !matches!(self.word(at.saturating_sub(1)), "{" | ",") {
            found.push(self.path(parts, at - 1, true));
        }
        at
    }

    /// The first token of the statement, item, field or arm that `at` is part of.
    pub(crate) fn statement(&self, at: usize) -> usize {
        let mut start = at;
        while start > 0 {
            let before = start - 1;
            if self.tokens[before].kind != Kind::Mark {
                start = before;
                continue;
            }
            match self.word(before) {
                ";" | "{" => return start,
                "," if self.opener(before).is_some_and(|opener| self.word(opener) == "{") => {
                    return start;
                }
                // a block ends the statement, unless the statement goes on behind it
                "}" if !matches!(self.word(start), "." | "?" | "else" | "," | ")" | "]") => {
                    return start;
                }
                ")" | "]" | "}" => start = self.partner[before].unwrap_or(before),
                _ => start = before,
            }
        }
        0
    }

    /// Whether a comment with `tag` stands directly above a line of the statement that `at` is part of, from its first
    /// to that of `at` itself.
    pub(crate) fn tagged_above(&self, at: usize, tag: &str) -> bool {
        (self.line(self.statement(at))..=self.line(at)).any(|line| {
            let mut block = (1..line).rev().map_while(|above| self.note(above).filter(|note| note.alone));
            block.any(|note| has_tag(note, tag))
        })
    }

    /// Whether a comment with `tag` stands on the line of `at`.
    pub(crate) fn tagged_beside(&self, at: usize, tag: &str) -> bool {
        self.note(self.line(at)).is_some_and(|note| has_tag(note, tag))
    }

    fn note(&self, line: usize) -> Option<&Note> {
        self.notes.binary_search_by_key(&line, |note| note.line).ok().map(|at| &self.notes[at])
    }
}

/// `a/../b` is `b`.
fn flat(path: &FilePath) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            part => parts.push(part.as_os_str().to_string_lossy().into_owned()),
        }
    }
    parts.join("/")
}

fn has_tag(note: &Note, tag: &str) -> bool {
    note.text.trim_start_matches(['/', '*', '!']).trim_start().starts_with(tag)
}

/// What `rule` finds in a tree made of these paths and texts.
pub(crate) fn found(rule: impl Fn(&Tree) -> Vec<String>, files: &[(&str, &str)]) -> Vec<String> {
    rule(&Tree::new(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))))
}

mod tests {
    use super::{Source, Tree};

    fn source(text: &str) -> Source {
        Source::new("src/a.rs".to_owned(), text.to_owned())
    }

    #[test]
    fn a_use_is_written_out_name_by_name() {
        let source = source(
            "use std::{fmt, io::{self, Read as _,}, sync::*};\n\
             use libc as c; std::fs::read(x.y::<T>())",
        );
        let paths = source.paths();
        let used: Vec<_> = paths.iter().filter(|path| path.in_use).map(|path| path.parts.join("::")).collect();
        assert_eq!(used, ["std::fmt", "std::io", "std::io::Read", "std::sync::*", "libc"]);
        let called: Vec<_> = paths.iter().filter(|path| !path.in_use).map(|path| path.parts.join("::")).collect();
        assert_eq!(called, ["std::fs::read", "x", "y", "T"]);
        assert!(paths[1].begins("std::io") && paths[4].begins("libc") && !paths[6].begins("x"));
    }

    #[test]
    fn what_only_tests_compile_is_marked_to_its_end() {
        let source = source(
            "#[cfg(test)] use a::{b}; c! {} #[cfg(all(test, unix))] #[x] pub(crate) fn d<E, F>() { g } h
             #[cfg(not(test))] mod i { } enum J { #[cfg(test)] K, L } #[cfg(any(test, sim))] mod m {}
             #[cfg(test)] mod n { o }",
        );
        let words = (0..source.tokens.len()).filter(|&at| source.is_word(at) && source.word(at).len() == 1);
        let (tests, others): (Vec<_>, Vec<_>) = words.partition(|&at| source.test[at]);
        let text = |of: Vec<usize>| of.into_iter().map(|at| source.word(at)).collect::<String>();
        assert_eq!((text(tests), text(others)), ("abxdEFgKno".to_owned(), "chiJLm".to_owned()));
    }

    #[test]
    fn files_of_test_modules_are_tests() {
        let files = [
            (
                "src/a/mod.rs",
                "#[cfg(test)] mod b; #[cfg(test)] mod c; mod bb; \
                 #[cfg(test)] #[path = \"../e_tests.rs\"] mod tests;",
            ),
            ("src/e_tests.rs", "x"),
            ("src/a/b.rs", "x"),
            ("src/a/c/mod.rs", "x"),
            ("src/a/bb.rs", "x"),
            ("src/d.rs", "#![cfg(test)] x"),
        ];
        let tree = Tree::new(files.map(|(path, text)| (path.to_owned(), text.to_owned())));
        let tests: Vec<_> = tree
            .files
            .iter()
            .filter(|file| file.test_file && file.test.last() == Some(&true))
            .map(|file| &file.path)
            .collect();
        assert_eq!(tests, ["src/e_tests.rs", "src/a/b.rs", "src/a/c/mod.rs", "src/d.rs"]);
    }

    #[test]
    fn a_statement_begins_behind_the_one_before() {
        let begin = |text: &str| {
            let source = source(text);
            let here = (0..source.tokens.len()).find(|&at| source.word(at) == "here").expect("here");
            source.word(source.statement(here)).to_owned()
        };
        assert_eq!(begin("a(); b.c(|x| { y }, &[d, here])"), "b");
        assert_eq!(begin("if a { b } else if here {}"), "if");
        assert_eq!(begin("if a { b } c(here)"), "c");
        assert_eq!(begin("match a { B => b, C(c, d) => here }"), "C");
        assert_eq!(begin("match a { B => { b } C => { c } }.d(here)"), "match");
        assert_eq!(begin("fn a() { #[b] c = here; }"), "#");
    }
}
