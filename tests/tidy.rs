//! Checks conventions that a compiler does not check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// All files of the project with one of these endings.
pub(crate) fn files(endings: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 3, "the project has files that end in {endings:?}");
    found
}

#[test]
fn every_source_file_has_a_head() {
    for path in files(&[".rs"]) {
        let text = fs::read_to_string(&path).expect("text");
        assert!(text.starts_with("//! "), "{} has no head", path.display());
    }
}

/// Maximum length of a file, in lines, because a file should hold one idea. Exceptions are listed
/// here, with the reason.
const LINES_MAX: usize = 400;
const LONGER: &[(&str, &str)] = &[];

#[test]
fn files_are_short() {
    let mut longer = Vec::new();
    for path in files(&[".rs"]) {
        let lines = fs::read_to_string(&path).expect("text").lines().count();
        let place = place(&path);
        let is_named = LONGER.iter().any(|(name, _)| *name == place);
        if lines > LINES_MAX && !is_named {
            longer.push(format!("{place} has {lines} lines"));
        }
        assert!(lines > LINES_MAX || !is_named, "{place} is short, and named as long");
    }
    assert!(longer.is_empty(), "{}", longer.join("\n"));
}

/// Checks the width of code and comments. Prose on pages may be somewhat wider; tables and fenced
/// blocks of pages may have any width.
#[test]
fn lines_are_narrow() {
    let mut wide = Vec::new();
    for path in files(&[".rs", ".md"]) {
        let text = fs::read_to_string(&path).expect("text");
        let is_page = path.extension().is_some_and(|ending| ending == "md");
        if is_page && text.lines().take(6).any(|line| line.contains("Made ")) {
            continue;
        }
        let columns_max = if is_page { 120 } else { 100 };
        let mut is_fenced = false;
        for (number, line) in (1..).zip(text.lines()) {
            is_fenced ^= line.starts_with("```");
            let is_exempt = is_page && (is_fenced || line.starts_with('|'));
            if line.chars().count() > columns_max && !is_exempt {
                wide.push(format!("{}:{number}", place(&path)));
            }
        }
    }
    assert!(wide.is_empty(), "{} lines are too wide:\n{}", wide.len(), wide.join("\n"));
}

/// The modules of each crate in order: each imports only from those before it.
const ROOMS: &[(&str, &[&str])] = &[
    (
        "model/src",
        &["shared", "abi", "vm", "protocol", "stream", "role", "variants", "trace", "text"],
    ),
    (
        "specs",
        &[
            "scenario",
            "properties",
            "state",
            "spec",
            "check",
            "counterexample",
            "report",
            "survey",
            "host_run",
            "cli",
        ],
    ),
];

#[test]
fn imports_only_go_down() {
    let mut up = Vec::new();
    for (source, rooms) in ROOMS {
        let floor = |room: &str| rooms.iter().position(|known| *known == room);
        for (from, to, path) in arrows(source) {
            let Some(here) = floor(&from) else {
                panic!("{source} has a room {from} that is not listed");
            };
            if floor(&to).is_some_and(|there| there > here) {
                up.push(format!("{path} imports {to}, which stands above {from}"));
            }
        }
    }
    assert!(up.is_empty(), "{}", up.join("\n"));
}

/// The exempt modules of the simulated kernel: the machine holds every subsystem's state, and every
/// subsystem uses the machine.
const KNOT: [&str; 2] = ["machine", "dispatch"];

#[test]
fn other_subsystems_of_the_simulated_kernel_import_in_no_cycle() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to, _) in arrows("sim-kernel/src") {
        if !KNOT.contains(&from.as_str()) && !KNOT.contains(&to.as_str()) {
            imports.entry(from).or_default().insert(to);
        }
    }
    // Removes subsystems that import none of the remaining ones, until there are none left to
    // remove.
    while let Some(ground) = imports
        .iter()
        .find(|(_, to)| !to.iter().any(|to| imports.contains_key(to)))
        .map(|(room, _)| room.clone())
    {
        imports.remove(&ground);
    }
    assert!(imports.is_empty(), "these import each other in a circle: {imports:?}");
}

/// The imports between the top-level modules of a crate: from, to, and the file.
fn arrows(source: &str) -> Vec<(String, String, String)> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut arrows = Vec::new();
    for path in files(&[".rs"]) {
        let Ok(inside) = path.strip_prefix(&base) else { continue };
        let mut parts = inside.iter().map(|part| part.to_string_lossy());
        let (Some(first), second) = (parts.next(), parts.next()) else { continue };
        // A nested crate is not a module of this one, nor is the crate root.
        let room = first.trim_end_matches(".rs").to_owned();
        if base.join(first.as_ref()).join("Cargo.toml").exists()
            || second.is_none() && ["lib", "main"].contains(&room.as_str())
        {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        // Unit tests may import from any module.
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code: Vec<_> =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for to in imported(&code.join("\n")) {
            if to != room {
                arrows.push((room.clone(), to, place(&path)));
            }
        }
    }
    assert!(arrows.len() > 3, "{source} has rooms");
    arrows
}

/// The first segments of paths from the crate's root, in a path or in a list of them.
fn imported(code: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            None => found.extend([name(rest)]),
            Some(list) => {
                let (mut depth, mut item) = (0, true);
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => item = true,
                        _ if item && c.is_alphabetic() => {
                            found.insert(name(&list[at..]));
                            item = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found.retain(|name| name.starts_with(|c: char| c.is_lowercase()));
    found
}

/// The path relative to the project's root.
fn place(path: &Path) -> String {
    let inside = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("within");
    inside.to_string_lossy().into_owned()
}

/// Checks that the protocol and the simulated kernel use no operating system, clock or thread.
#[test]
fn model_and_simulated_kernel_are_pure() {
    let banned = [
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "std::time",
        "std::env",
        "std::os",
        "std::io",
        "HashMap",
        "unsafe {",
    ];
    for path in files(&[".rs"]) {
        let place = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("within");
        if !place.starts_with("model/src") && !place.starts_with("sim-kernel/src") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        for word in banned {
            assert!(!text.contains(word), "{} uses {word}", place.display());
        }
    }
}
