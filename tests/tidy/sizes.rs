//! Sizes: what a reader can take in at once.

use crate::source::{Source, Tree};

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;
const ARCHITECTURE: &str = "src/ARCHITECTURE.md";
const ARCHITECTURE_LINES_MAX: usize = 200;

/// Files, tests and benches included, and the architecture page.
pub(crate) fn files(tree: &Tree) -> Vec<String> {
    let limit = |file: &Source| match file.path.as_str() {
        ARCHITECTURE => Some(ARCHITECTURE_LINES_MAX),
        path => path.ends_with(".rs").then_some(FILE_LINES_MAX),
    };
    let sizes = tree.files.iter().filter_map(|file| Some((file, file.text.lines().count(), limit(file)?)));
    let long = sizes.filter(|(_, lines, limit)| lines > limit);
    long.map(|(file, lines, limit)| {
        file.says(lines, format!("{lines} lines, {limit} at most; give a part of it a file of its own"))
    })
    .collect()
}

/// Functions, from the line of `fn` to that of the closing brace.
pub(crate) fn functions(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.rust() {
        for at in (0..file.tokens.len()).filter(|&at| file.word(at) == "fn") {
            let Some(end) = body_end(file, at) else {
                continue;
            };
            let lines = file.line(end) - file.line(at) + 1;
            if lines > FUNCTION_LINES_MAX {
                let name = file.word(at + 1);
                messages.push(file.says(
                    file.line(at),
                    format!(
                        "`{name}` has {lines} lines, {FUNCTION_LINES_MAX} at most; name a \
                     step of it and move it out"
                    ),
                ));
            }
        }
    }
    messages
}

/// The closing brace of the function whose `fn` stands at `at`; none for a type or a function without body.
fn body_end(file: &Source, at: usize) -> Option<usize> {
    let mut i = at + 1;
    while i < file.tokens.len() && file.word(at + 1) != "(" {
        match file.word(i) {
            "{" => return Some(file.closer(i)),
            "(" | "[" => i = file.closer(i) + 1,
            ";" | ")" | "]" | "}" => return None,
            _ => i += 1,
        }
    }
    None
}

mod tests {
    use super::{files, functions};
    use crate::source::found;

    #[test]
    fn a_file_above_its_limit_is_named() {
        let (fits, long) = ("x;\n".repeat(700), "x;\n".repeat(701));
        assert!(found(files, &[("src/a.rs", &fits), ("src/format/FORMAT.md", &long)]).is_empty());
        for path in ["src/a.rs", "tests/it/main.rs", "benches/get.rs", "loom-tests/a.rs"] {
            let message = format!("{path}:701: 701 lines, 700 at most; give a part of it a file of its own");
            assert_eq!(found(files, &[(path, &long)]), [message]);
        }
        let page = "x\n".repeat(201);
        assert_eq!(
            found(files, &[("src/ARCHITECTURE.md", &page)]),
            ["src/ARCHITECTURE.md:201: 201 lines, 200 at most; give a part of it a file of \
                 its own"]
        );
    }

    #[test]
    fn a_function_above_70_lines_is_named() {
        let function = |lines: usize| {
            format!(
                "\npub fn f<T>(a: [u8; {{ 3 }}], g: fn(u8))\nwhere T: X {{\n{}}}\nfn h() {{}}",
                "b({});\n".repeat(lines - 3)
            )
        };
        assert!(found(functions, &[("src/a.rs", &function(70))]).is_empty());
        let message = "src/a.rs:2: `f` has 71 lines, 70 at most; name a step of it and move it out";
        assert_eq!(found(functions, &[("src/a.rs", &function(71))]), [message]);
        let test = format!("#[cfg(test)] mod tests {{ {} }}", function(71));
        assert_eq!(found(functions, &[("src/a.rs", &test)]).len(), 1, "tests are no exception");
        let none = format!(
            "trait A {{ fn f();\n{} fn h() {{}} }}\nstruct B {{ g: fn(u8),\n{} }}",
            "const C: u8;\n".repeat(80),
            "c: u8,\n".repeat(80)
        );
        assert!(found(functions, &[("src/a.rs", &none)]).is_empty());
        let text = format!("const A: &str = \"fn f() {{ {} }}\";", "\n".repeat(80));
        assert!(found(functions, &[("src/a.rs", &text)]).is_empty());
    }
}
