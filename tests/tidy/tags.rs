//! The three tags: an ordering names its pair, `unsafe` says why it is sound, a barrier says what it makes true.

use crate::source::{Source, Tree};

const STRONG: [&str; 4] = ["Acquire", "Release", "AcqRel", "SeqCst"];

/// Rooms of floors 2 to 4, which use the disk through its seam.
const BARRIER_ROOMS: [&str; 6] = ["commit", "compact", "index", "segment", "store", "zipfile"];

/// Whether an ordering stronger than Relaxed is named at `at`.
pub(crate) fn is_strong(file: &Source, at: usize) -> bool {
    file.sees(at, &["Ordering", "::"]) && STRONG.contains(&file.word(at + 2))
}

/// Orderings stronger than Relaxed, and fences.
pub(crate) fn orders(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.src() {
        let mut last = 0;
        for at in (0..file.tokens.len()).filter(|&at| !file.test[at]) {
            let fence = matches!(file.word(at), "fence" | "compiler_fence")
                && file.word(at + 1) == "("
                && (at == 0 || file.word(at - 1) != "fn");
            if !fence && !is_strong(file, at) || file.line(at) == last {
                continue;
            }
            if !file.tagged_above(at, "ORDER:") && !file.tagged_beside(at, "ORDER:") {
                let what = if fence { file.word(at).to_owned() } else { format!("Ordering::{}", file.word(at + 2)) };
                let message = format!(
                    "`{what}` without its pair; put `// ORDER: ..` above, with what it pairs \
                     with and the invariant it keeps"
                );
                messages.push(file.says(file.line(at), message));
                last = file.line(at);
            }
        }
        for path in file.paths().iter().filter(|path| path.in_use && !path.test) {
            if let [.., ordering, kind] = path.parts.as_slice()
                && ordering == "Ordering"
                && (STRONG.contains(&kind.as_str()) || kind == "*")
            {
                let message = format!(
                    "a `use` of `Ordering::{kind}`; write it in full where it orders, beside \
                     its `// ORDER:`"
                );
                messages.push(file.says(path.line, message));
            }
        }
    }
    messages
}

/// `unsafe` in every Rust file, whatever cfg it stands below.
pub(crate) fn safety(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.rust() {
        let implemented = trait_impls(file);
        for at in (0..file.tokens.len()).filter(|&at| file.word(at) == "unsafe") {
            let foreign = file.word(at + 1) == "extern";
            let abi = foreign && file.word(at + 2).starts_with('"');
            let next = at + 1 + usize::from(foreign) + usize::from(abi);
            let inherits = implemented.iter().any(|range| range.contains(&at));
            let (tag, what) = match file.word(next) {
                "{" if foreign => ("SAFETY:", "unsafe extern"),
                "{" => ("SAFETY:", "unsafe"),
                "impl" => ("SAFETY:", "unsafe impl"),
                "trait" => ("# Safety", "unsafe trait"),
                "fn" if file.is_word(next + 1) && !inherits => ("# Safety", "unsafe fn"),
                _ => continue,
            };
            if !file.tagged_above(at, tag) {
                let todo = match tag {
                    "SAFETY:" => "put `// SAFETY: ..` above: why it is sound, and who could break it",
                    _ => {
                        "give its doc a `# Safety`: what the caller (or the implementer) has to \
                         see to"
                    }
                };
                messages.push(file.says(file.line(at), format!("`{what}` without its reason; {todo}")));
            }
        }
    }
    messages
}

/// The bodies of `impl Trait for Type`: their functions' duties stand at the trait.
fn trait_impls(file: &Source) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    for at in (0..file.tokens.len()).filter(|&at| file.word(at) == "impl") {
        let mut named = false;
        let mut i = at + 1;
        while i < file.tokens.len() {
            match file.word(i) {
                "{" => {
                    found.extend(named.then(|| i..file.closer(i)));
                    break;
                }
                ";" | ")" | "]" | "}" => break,
                "(" | "[" => i = file.closer(i),
                "for" => named |= file.word(i + 1) != "<",
                _ => {}
            }
            i += 1;
        }
    }
    found
}

/// Calls that make something durable.
pub(crate) fn barriers(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    for file in tree.src() {
        let room = file.path.split('/').nth(1).unwrap_or_default().trim_end_matches(".rs");
        if !BARRIER_ROOMS.contains(&room) {
            continue;
        }
        for at in (0..file.tokens.len()).filter(|&at| !file.test[at] && file.word(at) == ".") {
            let call = file.word(at + 1);
            let barrier = matches!(call, "barrier" | "sync" | "sync_dir" | "sync_parent") && file.word(at + 2) == "(";
            if barrier && !file.tagged_above(at + 1, "BARRIER:") {
                messages.push(file.says(
                    file.line(at + 1),
                    format!(
                        "`.{call}()` without its reason; put `// BARRIER: ..` above: what \
                     it makes true, before what"
                    ),
                ));
            }
        }
    }
    messages
}

mod tests {
    use super::{barriers, orders, safety};
    use crate::source::found;

    const PAIR: &str = "without its pair; put `// ORDER: ..` above, with what it pairs with and \
     the invariant it keeps";

    #[test]
    fn an_ordering_without_its_pair_is_named() {
        let text = "fn f() {\n    a.store(1, Ordering::Release);\n    \
         fence(atomic::Ordering::SeqCst);\n    b.load(Ordering::Relaxed);\n}";
        assert_eq!(
            found(orders, &[("src/segment/tail.rs", text)]),
            [
                format!("src/segment/tail.rs:2: `Ordering::Release` {PAIR}"),
                format!("src/segment/tail.rs:3: `fence` {PAIR}"),
            ]
        );
        let far = "// ORDER: Release.\nlet a = 1;\nb.store(1, Ordering::Release);\n\
         // ORDER: Release.\n\nb.store(1, Ordering::Release);";
        assert_eq!(found(orders, &[("src/segment/tail.rs", far)]).len(), 2, "only directly above counts");
        for ordering in ["Acquire", "Release", "AcqRel", "SeqCst"] {
            let text = format!("a.b(Ordering::{ordering}, // ORDER: beside.\nOrdering::{ordering});");
            let message = format!("src/a.rs:2: `Ordering::{ordering}` {PAIR}");
            assert_eq!(found(orders, &[("src/a.rs", &text)]), [message]);
        }
        let arms = "match a {\n    // ORDER: Acquire.\n    B => b.load(Ordering::Acquire),\n    \
         C => c.load(Ordering::Acquire),\n}";
        assert_eq!(
            found(orders, &[("src/segment/tail.rs", arms)]),
            [format!("src/segment/tail.rs:4: `Ordering::Acquire` {PAIR}")]
        );
    }

    #[test]
    fn an_order_comment_covers_its_statement() {
        let text = "fn f() {
            // ORDER: Release; pairs with the Acquire in `g`, so that
            // the bytes are seen (T1).
            self.a.store(1, Ordering::Release);
            a.load(Ordering::Acquire); // ORDER: Acquire; pairs with `f`.
            // ORDER: AcqRel, Acquire; both pair with `f`.
            while a
                .compare_exchange_weak(1, 2, Ordering::AcqRel, Ordering::Acquire)
                .is_err()
            {
                // Ordering::Release
                let b = \"Ordering::Release\";
                c(
                    // ORDER: SeqCst; pairs with the fence in `h`.
                    d.load(Ordering::SeqCst),
                );
            }
            match e.cmp(&g) { Ordering::Less => {} }
        }
        fn fence(a: u8) {}
        #[cfg(test)] mod tests { fn f() { a.load(Ordering::Acquire); } }";
        assert!(found(orders, &[("src/segment/tail.rs", text)]).is_empty());
    }

    #[test]
    fn orderings_are_written_in_full() {
        assert_eq!(
            found(
                orders,
                &[(
                    "src/segment/tail.rs",
                    "// ORDER: none\nuse crate::sync::atomic::{AtomicU64, Ordering::{self, \
                     Acquire}};"
                )]
            ),
            ["src/segment/tail.rs:2: a `use` of `Ordering::Acquire`; write it in full where \
                 it orders, beside its `// ORDER:`"]
        );
    }

    #[test]
    fn an_unsafe_without_its_reason_is_named() {
        let block = "put `// SAFETY: ..` above: why it is sound, and who could break it";
        let doc = "give its doc a `# Safety`: what the caller (or the implementer) has to see to";
        let text = "fn f() { unsafe { g() } }\nunsafe impl Send for A {}\n/// A.\n\
         pub unsafe fn h() {}\nunsafe trait B {}\nunsafe extern \"C\" { fn i(); }\n\
         impl<F: for<'a> G<'a>> A<F> { unsafe extern \"C\" fn j() {} }";
        let message = |line: usize, what: &str, todo: &str| {
            format!("loom-tests/a.rs:{line}: `{what}` without its reason; {todo}")
        };
        assert_eq!(
            found(safety, &[("loom-tests/a.rs", text)]),
            [
                message(1, "unsafe", block),
                message(2, "unsafe impl", block),
                message(4, "unsafe fn", doc),
                message(5, "unsafe trait", doc),
                message(6, "unsafe extern", block),
                message(7, "unsafe fn", doc),
            ]
        );
    }

    #[test]
    fn reasons_are_found_where_they_stand() {
        let text = "fn f() {
            // SAFETY: below the tail (T1),
            // which never goes back.
            let a = b(|c| unsafe { *c })?;
            // \"unsafe {\" in a comment, and in a string:
            let d = \"unsafe { }\";
        }
        // SAFETY: only atomics.
        #[expect(x)]
        unsafe impl Send for A {}
        /// A.
        ///
        /// # Safety
        /// B.
        #[inline]
        pub(crate) unsafe fn g(h: unsafe fn(u8), i: unsafe extern \"C\" fn()) {}
        // SAFETY: see the trait.
        unsafe impl<F: for<'a> Fn(&'a u8)> B for A<F> { unsafe fn j() {} }
        #[unsafe(no_mangle)] fn k() {}";
        assert!(found(safety, &[("src/reclaim.rs", text)]).is_empty());
    }

    #[test]
    fn a_barrier_without_its_reason_is_named() {
        let text = "fn f() {\n    file.barrier(level)?;\n    disk\n        \
         .sync_dir(\"\")?;\n    file.sync()?;\n    disk.sync_parent()?;\n    self.sync.lock();\n}";
        let message = |line: usize, call: &str| {
            format!(
                "src/store/init.rs:{line}: `.{call}()` without its reason; put `// BARRIER: ..` \
                 above: what it makes true, before what"
            )
        };
        assert_eq!(
            found(barriers, &[("src/store/init.rs", text), ("src/platform/real.rs", text), ("src/db/mod.rs", text)]),
            [message(2, "barrier"), message(4, "sync_dir"), message(5, "sync"), message(6, "sync_parent")]
        );
        let fine = "fn f() {\n    // BARRIER: W1. The records reach the device\n    \
         // before anyone is told.\n    file\n        .barrier(level)?;\n}\n#[cfg(test)]\n\
         mod tests { fn f() { file.sync(); } }";
        assert!(found(barriers, &[("src/store/init.rs", fine)]).is_empty());
    }
}
