//! Rust text cut into tokens and comments, so that no rule is fooled by what a string or a comment says.

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// An identifier or keyword; `r#` is dropped.
    Word,
    /// A string, character or number, with its quotes.
    Literal,
    /// `'a`
    Lifetime,
    /// `::`, or one character of punctuation.
    Mark,
}

/// A token and the line (from 1) on which it begins.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// One line of a comment.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Nothing but comments stands on its line.
    pub(crate) alone: bool,
}

/// Cuts `text`. What does not end (a string, a comment) ends with the text.
pub(crate) fn lex(text: &str) -> (Vec<Token>, Vec<Note>) {
    let mut lexer = Lexer { text, at: 0, line: 1, tokens: Vec::new(), notes: Vec::new() };
    while let Some(c) = lexer.peek(0) {
        lexer.one(c);
    }
    let Lexer { tokens, mut notes, .. } = lexer;
    let mut busy: Vec<usize> = tokens.iter().map(|token| token.line).collect();
    busy.dedup();
    for note in &mut notes {
        note.alone = busy.binary_search(&note.line).is_err();
    }
    (tokens, notes)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
    notes: Vec<Note>,
}

impl Lexer<'_> {
    /// The character `ahead` characters from here.
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text[self.at..].chars().nth(ahead)
    }

    fn sees(&self, what: &str) -> bool {
        self.text[self.at..].starts_with(what)
    }

    fn skip(&mut self, count: usize) {
        for c in self.text[self.at..].chars().take(count) {
            self.at += c.len_utf8();
            self.line += usize::from(c == '\n');
        }
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.skip(1);
        }
    }

    fn push(&mut self, kind: Kind, start: usize, line: usize) {
        let text = &self.text[start..self.at];
        let text = if kind == Kind::Word { text.trim_start_matches("r#") } else { text }.to_owned();
        self.tokens.push(Token { kind, text, line });
    }

    fn one(&mut self, c: char) {
        let (start, line) = (self.at, self.line);
        if c.is_whitespace() {
            self.skip(1);
        } else if self.sees("//") {
            self.skip_while(|c| c != '\n');
            self.note(start, line);
        } else if self.sees("/*") {
            self.block_comment();
            self.note(start, line);
        } else if let Some(hashes) = self.raw_string() {
            self.skip_while(|c| c != '"');
            self.skip(1);
            let end = format!("\"{}", "#".repeat(hashes));
            while self.at < self.text.len() && !self.sees(&end) {
                self.skip(1);
            }
            self.skip(end.len());
            self.push(Kind::Literal, start, line);
        } else if c == '"' || self.sees("b\"") || self.sees("c\"") {
            self.skip_while(|c| c != '"');
            self.quoted('"');
            self.push(Kind::Literal, start, line);
        } else if c == '\'' || self.sees("b'") {
            self.skip(usize::from(c == 'b'));
            if self.peek(1) == Some('\\') || self.peek(2) == Some('\'') {
                self.quoted('\'');
                self.push(Kind::Literal, start, line);
            } else {
                self.skip(1);
                self.skip_while(is_word);
                self.push(Kind::Lifetime, start, line);
            }
        } else if c.is_ascii_digit() {
            self.skip_while(is_word);
            if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
                self.skip(1);
                self.skip_while(is_word);
            }
            self.push(Kind::Literal, start, line);
        } else if is_word(c) {
            self.skip(if self.sees("r#") { 2 } else { 0 });
            self.skip_while(is_word);
            self.push(Kind::Word, start, line);
        } else {
            self.skip(if self.sees("::") { 2 } else { 1 });
            self.push(Kind::Mark, start, line);
        }
    }

    /// Keeps the comment from `start` to here, a note a line.
    fn note(&mut self, start: usize, line: usize) {
        for (below, text) in self.text[start..self.at].lines().enumerate() {
            self.notes.push(Note { text: text.trim().to_owned(), line: line + below, alone: true });
        }
    }

    /// Skips a block comment with those inside it.
    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.text.len() {
            if self.sees("/*") {
                depth += 1;
                self.skip(2);
            } else if self.sees("*/") {
                depth -= 1;
                self.skip(2);
                if depth == 0 {
                    return;
                }
            } else {
                self.skip(1);
            }
        }
    }

    /// The number of `#` of the raw string that begins here, if one does.
    fn raw_string(&self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let rest = rest.strip_prefix("br").or(rest.strip_prefix("cr")).or(rest.strip_prefix('r'))?;
        let hashes = rest.bytes().take_while(|&byte| byte == b'#').count();
        rest[hashes..].starts_with('"').then_some(hashes)
    }

    /// Skips from an opening quote to behind the closing one.
    fn quoted(&mut self, quote: char) {
        self.skip(1);
        while let Some(c) = self.peek(0) {
            self.skip(if c == '\\' { 2 } else { 1 });
            if c == quote {
                return;
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

mod tests {
    use super::lex;

    fn words(text: &str) -> String {
        let tokens: Vec<_> = lex(text).0.into_iter().map(|token| token.text).collect();
        tokens.join(" ")
    }

    #[test]
    fn strings_characters_and_lifetimes_are_told_apart() {
        assert_eq!(
            words(r#"f("a\" // b", 'x', '\n', '\'', b'"', &'a str)"#),
            r#"f ( "a\" // b" , 'x' , '\n' , '\'' , b'"' , & 'a str )"#
        );
        assert_eq!(words("r\"\\\" + br##\"a\"# b\"## + r#fn"), "r\"\\\" + br##\"a\"# b\"## + fn");
        assert_eq!(words("0..10 1.5e3 a.0.len() 'outer: loop"), "0 . . 10 1.5e3 a . 0 . len ( ) 'outer : loop");
        assert_eq!(words("std::sync ::x:u8"), "std :: sync :: x : u8");
    }

    #[test]
    fn comments_nest_and_are_kept_by_line() {
        let (tokens, notes) = lex("a // one\n/* two /* b */\n three */\n\"// c\n\" // four\nd");
        let tokens: Vec<_> = tokens.iter().map(|token| (token.text.as_str(), token.line)).collect();
        assert_eq!(tokens, [("a", 1), ("\"// c\n\"", 4), ("d", 6)]);
        let notes: Vec<_> = notes.iter().map(|note| (note.text.as_str(), note.line, note.alone)).collect();
        assert_eq!(
            notes,
            [("// one", 1, false), ("/* two /* b */", 2, true), ("three */", 3, true), ("// four", 5, true)]
        );
    }
}
