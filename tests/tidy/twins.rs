//! Loom twins: a file that orders memory has its models in `loom-tests`, compiled as its child.

use crate::source::{Source, Tree};
use crate::tags::is_strong;

/// Each file with an ordering stronger than Relaxed names its twin; each twin is named by one file.
pub(crate) fn twins(tree: &Tree) -> Vec<String> {
    let mut messages = Vec::new();
    let mut named = Vec::new();
    for file in tree.src() {
        let children = file.children();
        let strong = (0..file.tokens.len()).find(|&at| !file.test[at] && is_strong(file, at));
        let exempt = ["src/platform", "src/bin/", "src/sync.rs"].iter().any(|place| file.path.starts_with(place));
        if let Some(at) = strong.filter(|_| !exempt) {
            let twin = format!("loom-tests/{}.rs", stem(&file.path));
            let up = "../".repeat(file.path.matches('/').count());
            if !children.iter().any(|(_, path)| *path == twin) {
                messages.push(file.says(
                    file.line(at),
                    format!(
                        "it orders memory, but no model looks at it; write {twin} and end \
                     this file with `#[cfg(all(test, zipcask_loom))]`, `#[path = \
                     \"{up}{twin}\"]`, `mod loom_models;`"
                    ),
                ));
            } else if !tree.has(&twin) {
                messages.push(file.says(file.line(at), format!("{twin} is not there; write the models of this file")));
            }
        }
        for (attribute, path) in children {
            if !path.starts_with("loom-tests/") {
                continue;
            }
            let runs = MODELS.iter().any(|(cfg, module)| declares(file, attribute, cfg, module));
            if !(file.test[attribute] && runs) {
                let message = "a twin is declared as `#[cfg(all(test, zipcask_loom))]`, `#[path \
                 = ..]`, `mod loom_models;`, or its models do not run";
                messages.push(file.says(file.line(attribute), message));
            }
            named.push(path);
        }
    }
    for twin in tree.rust().filter(|file| file.path.starts_with("loom-tests/")) {
        let count = named.iter().filter(|path| **path == twin.path).count();
        if count != 1 {
            messages.push(
                twin.says(1, format!("{count} files of src name it by #[path]; exactly one has to, or it never runs")),
            );
        }
    }
    messages
}

/// The file's own name: that of the folder for a mod.rs.
fn stem(path: &str) -> &str {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.rsplit('/').next().unwrap_or(path)
}

/// What runs the files of `loom-tests`: the cfg, and the module whose name chooses them. Twins are loom's.
const MODELS: [(&str, &str); 2] = [("zipcask_loom", "loom_models"), ("zipcask_shuttle", "schedules")];

/// Whether the item below the attribute is this module and this cfg stands directly above.
fn declares(file: &Source, attribute: usize, cfg: &str, module: &str) -> bool {
    let end = file.closer(attribute + 1) + 1;
    let cfg = ["(", "test", ",", cfg, ")", ")", "]"];
    file.sees(end, &["mod", module, ";"]) && attribute >= cfg.len() && file.sees(attribute - cfg.len(), &cfg)
}

mod tests {
    use super::twins;
    use crate::source::found;

    const ORDERED: &str = "fn f() { a.load(Ordering::Acquire); }\n";
    const CHILD: &str = "#[cfg(all(test, zipcask_loom))]\n#[path = \
     \"../../loom-tests/tail.rs\"]\nmod loom_models;\n";

    #[test]
    fn an_ordering_without_a_twin_is_named() {
        let advice = "end this file with `#[cfg(all(test, zipcask_loom))]`, `#[path = \
         \"../../loom-tests/tail.rs\"]`, `mod loom_models;`";
        assert_eq!(
            found(twins, &[("src/segment/tail.rs", ORDERED)]),
            [format!(
                "src/segment/tail.rs:1: it orders memory, but no model looks at it; write \
                 loom-tests/tail.rs and {advice}"
            )]
        );
        let named = format!("{ORDERED}{CHILD}");
        assert_eq!(
            found(twins, &[("src/segment/tail.rs", &named)]),
            ["src/segment/tail.rs:1: loom-tests/tail.rs is not there; write the models of \
                 this file"]
        );
        assert!(found(twins, &[("src/segment/tail.rs", &named), ("loom-tests/tail.rs", "")]).is_empty());
        let exempt = [("src/platform/map.rs", ORDERED), ("src/bin/zipcask/main.rs", ORDERED)];
        assert!(found(twins, &exempt).is_empty());
        let test = format!("#[cfg(test)] mod tests {{ {ORDERED} }} fn f() {{ a.load(Ordering::Relaxed); }}");
        assert!(found(twins, &[("src/segment/tail.rs", &test)]).is_empty());
    }

    #[test]
    fn the_twin_of_a_mod_file_has_the_name_of_its_folder() {
        let text = format!("{ORDERED}{}", CHILD.replace("tail", "segment"));
        assert!(found(twins, &[("src/segment/mod.rs", &text), ("loom-tests/segment.rs", "")]).is_empty());
        let room = CHILD.replace("../../", "../").replace("tail", "reclaim");
        assert!(
            found(twins, &[("src/reclaim.rs", &format!("{ORDERED}{room}")), ("loom-tests/reclaim.rs", "")]).is_empty()
        );
    }

    #[test]
    fn schedules_run_under_their_own_cfg() {
        let schedules = CHILD.replace("zipcask_loom", "zipcask_shuttle").replace("loom_models", "schedules");
        let twin = ("loom-tests/tail.rs", "");
        assert!(found(twins, &[("src/segment/tail.rs", &schedules), twin]).is_empty());
        let mixed = schedules.replace("zipcask_shuttle", "zipcask_loom");
        assert_eq!(found(twins, &[("src/segment/tail.rs", &mixed), twin]).len(), 1);
    }

    #[test]
    fn a_twin_that_never_runs_is_named() {
        assert_eq!(
            found(twins, &[("loom-tests/lost.rs", "")]),
            ["loom-tests/lost.rs:1: 0 files of src name it by #[path]; exactly one has to, \
                 or it never runs"]
        );
        let twice = [("src/segment/tail.rs", CHILD), ("src/db/tail.rs", CHILD), ("loom-tests/tail.rs", "")];
        assert_eq!(
            found(twins, &twice),
            ["loom-tests/tail.rs:1: 2 files of src name it by #[path]; exactly one has to, \
                 or it never runs"]
        );
        let message = "a twin is declared as `#[cfg(all(test, zipcask_loom))]`, `#[path = ..]`, \
         `mod loom_models;`, or its models do not run";
        for wrong in [CHILD.replace("mod loom_models", "mod models"), CHILD.replace("all(test, zipcask_loom)", "test")]
        {
            let files = [("src/segment/tail.rs", wrong.as_str()), ("loom-tests/tail.rs", "")];
            assert_eq!(found(twins, &files), [format!("src/segment/tail.rs:2: {message}")]);
        }
    }
}
