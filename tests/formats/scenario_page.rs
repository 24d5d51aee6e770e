//! `docs/scenario.md` documents exactly the keys, defaults, values and errors of the parser.

use handoff_checker::search::Limits;
use handoff_specs::check::check;
use handoff_specs::scenario::Scenario;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

fn page() -> String {
    let path = format!("{}/docs/scenario.md", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("the page exists")
}

/// Returns the complete files of the page.
fn complete_files() -> Vec<String> {
    let page = page();
    let blocks = page.split("```toml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().expect("an end").to_owned()).collect()
}

/// Returns the first file of the page, to which the tests add keys and from which they remove some.
fn smallest() -> String {
    complete_files().swap_remove(0)
}

/// One documented key.
#[derive(Clone)]
struct Row {
    /// Header of its table in a file, such as `[[ram]]`; empty at the top level.
    table: String,
    /// Every spelling of the key.
    keys: Vec<String>,
    /// Contents of the columns of the same names.
    kind: String,
    default: String,
    example: String,
}

/// Returns the rows of all tables of keys. The heading above a table names it.
fn rows() -> Vec<Row> {
    let (mut table, mut found) = (None, Vec::new());
    for line in page().lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let name = heading.trim_start_matches('#').trim();
            let is_table = name.starts_with("`[");
            table = (is_table || name == "Top level")
                .then(|| if is_table { name.trim_matches('`').to_owned() } else { String::new() });
        }
        let (Some(table), true) = (&table, line.starts_with("| `")) else { continue };
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [keys, kind, default, _, example] = cells[..] else {
            panic!("a row of {table} has other columns than the head: {line}");
        };
        found.push(Row {
            table: table.clone(),
            keys: spans(keys),
            kind: kind.to_owned(),
            default: default.to_owned(),
            example: example.trim_matches('`').to_owned(),
        });
    }
    assert!(found.len() > 30, "the page has tables of keys");
    found
}

/// Returns the texts between backticks.
fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the smallest file with a line in one of its tables, in the place of the same key.
fn with(table: &str, line: &str) -> String {
    let mut lines: Vec<String> = smallest().lines().map(str::to_owned).collect();
    let start = match table {
        "" => 0,
        _ => lines.iter().position(|it| it == table).map_or_else(
            || {
                lines.push(table.to_owned());
                // An entry of a list has a name.
                lines.extend(table.starts_with("[[").then(|| "name = \"it\"".to_owned()));
                lines.iter().rposition(|it| it == table).expect("just added") + 1
            },
            |at| at + 1,
        ),
    };
    let end = lines[start..].iter().position(|it| it.starts_with('['));
    let end = end.map_or(lines.len(), |at| start + at);
    let key = format!("{} =", line.split(" =").next().expect("a key"));
    match lines[start..end].iter().position(|it| it.starts_with(&key)) {
        Some(at) => line.clone_into(&mut lines[start + at]),
        None => lines.insert(start, line.to_owned()),
    }
    lines.join("\n")
}

fn refusal(text: &str) -> String {
    match Scenario::parse("vm.toml", text) {
        Ok(_) => panic!("this is no error:\n{text}"),
        Err(error) => error.to_string().trim_start_matches("vm.toml: ").to_owned(),
    }
}

/// Returns what the parser expects, from its error about a word that it does not know.
fn expected(error: &str) -> BTreeSet<String> {
    let (_, list) = error.split_once("expected").unwrap_or_else(|| panic!("{error}"));
    spans(list).into_iter().collect()
}

/// serde names every field of a struct, with all its spellings, in the error about an unknown one.
#[test]
fn every_key_is_documented_and_no_other() {
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows() {
        let keys = documented.entry(row.table.clone()).or_default();
        for key in row.keys {
            assert!(keys.insert(key.clone()), "{:?} documents {key} twice", row.table);
        }
    }
    let top = expected(&refusal(&with("", "no-such-key = 1")));
    let tables: BTreeSet<_> =
        documented.keys().map(|it| it.trim_matches(['[', ']']).to_owned()).collect();
    assert!(tables.iter().all(|table| table.is_empty() || top.contains(table)), "{tables:?}");
    for (table, keys) in documented {
        let error = refusal(&with(&table, "no-such-key = 1"));
        assert_eq!(keys, expected(&error), "docs/scenario.md, table {table:?}");
    }
}

/// A key of the top level that has no type of its own has a heading.
#[test]
fn every_table_has_a_section() {
    let documented: BTreeSet<_> = rows().into_iter().map(|row| row.table).collect();
    for row in rows().iter().filter(|row| row.kind.ends_with("table")) {
        let header = format!("[{}]", row.keys[0]);
        assert!(documented.contains(&header), "{header} has no section");
    }
    for row in rows().iter().filter(|row| row.kind == "list of tables") {
        let header = format!("[[{}]]", row.keys[0]);
        assert!(documented.contains(&header), "{header} has no section");
    }
}

/// A file with a documented default written out is the file without it.
#[test]
fn defaults_are_the_documented_ones() {
    let parsed = |text: &str| match Scenario::parse("vm.toml", text) {
        Ok(scenario) => format!("{scenario:?}"),
        Err(error) => panic!("{error}\n{text}"),
    };
    let mut written = 0;
    for row in rows().iter().filter(|row| row.default.starts_with('`')) {
        let is_list = row.table.starts_with("[[");
        let base = if is_list { with(&row.table, "name = \"it\"") } else { smallest() };
        let line = format!("{} = {}", row.keys[0], spans(&row.default)[0]);
        let text = if is_list {
            base.replace("name = \"it\"", &format!("name = \"it\"\n{line}"))
        } else {
            with(&row.table, &line)
        };
        assert_eq!(parsed(&text), parsed(&base), "{}: {line}", row.table);
        written += 1;
    }
    assert!(written > 15, "{written} defaults");
}

/// Without a key that is documented as required there is an error.
#[test]
fn required_keys_are_the_documented_ones() {
    let mut required = 0;
    for row in rows().iter().filter(|row| row.default == "required") {
        let (key, header) = (&row.keys[0], format!("[[{}]]", row.keys[0]));
        let text = if row.kind == "list of tables" {
            let smallest = smallest();
            let (before, after) = smallest.split_once(&header).expect("a table");
            let rest = after.find('[').map_or("", |at| &after[at..]);
            format!("{before}{rest}")
        } else {
            with(&row.table, &format!("{key} = 1")).replace(&format!("{key} = 1"), "")
        };
        let missing = format!("missing field `{key}`");
        assert!(refusal(&text).contains(&missing), "{}: {key} is not required", row.table);
        required += 1;
    }
    assert!(required > 8, "{required} required keys");
}

/// A key of which the values are listed takes these, and no other.
#[test]
fn listed_values_are_those_of_the_parser() {
    let mut lists = 0;
    for row in rows().iter().filter(|row| row.kind.starts_with("`\"")) {
        let line = format!("{} = \"no-such-word\"", row.keys[0]);
        let listed: BTreeSet<_> =
            spans(&row.kind).iter().map(|it| it.trim_matches('"').to_owned()).collect();
        assert_eq!(listed, expected(&refusal(&with(&row.table, &line))), "{line}");
        lists += 1;
    }
    assert!(lists > 5, "{lists} lists");
}

/// An example may need other keys beside it, but it has the right type, and stands in its table.
#[test]
fn examples_are_of_their_key() {
    for row in rows().iter().filter(|row| !row.example.is_empty()) {
        let starts = row.keys.iter().any(|key| row.example.starts_with(&format!("{key} = ")));
        assert!(starts, "{}: the example of {:?} is {}", row.table, row.keys, row.example);
        let text = with(&row.table, &row.example);
        if let Err(error) = Scenario::parse("vm.toml", &text) {
            let error = error.to_string();
            assert!(!error.contains(": line "), "{}: {error}", row.example);
        }
    }
}

/// Complete files are those that an operator can copy: a check proves the handoff.
#[test]
fn complete_files_are_proved() {
    let files = complete_files();
    assert_eq!(files.len(), 2, "the smallest file and a realistic one");
    for text in files {
        let scenario = Scenario::parse("page.toml", &text).expect("a good file");
        let report = check(&scenario, Limits::default()).expect("it starts");
        assert!(!report.is_inconclusive(), "{:?}", report.verdicts);
        assert!(report.violations().next().is_none(), "{:?}", report.verdicts);
    }
}

/// Edits of the smallest file, each of which is one mistake.
fn mistakes() -> Vec<String> {
    let smallest = smallest();
    let edit = |from: &str, to: &str| {
        assert!(smallest.contains(from), "{from}");
        smallest.replace(from, to)
    };
    let device = |line: &str| edit("name = \"nic0\"", &format!("name = \"nic0\"\n{line}"));
    let top = |line: &str| edit("name = \"my-vm\"", &format!("name = \"my-vm\"\n{line}"));
    let many: Vec<_> = (1..17).map(|at| format!("[[device]]\nname = \"nic{at}\"")).collect();
    let many = many.join("\n");
    vec![
        edit("pages = 2", "pages = 2\npagez = 3"),
        edit("\"transfer\"", "\"teleport\""),
        edit("mode = \"transfer\"\n", ""),
        edit("0x100000", "0x100001"),
        edit("[[device]]", "[[ram]]\nname = \"ram1\"\npages = 1\niova = 0x101000\n[[device]]"),
        device("[[device]]\nname = \"nic0\""),
        device("space = \"far\""),
        device("[[space]]\nname = \"a\"\n[[space]]\nname = \"b\""),
        device("needs_kvm = true"),
        device("kind = \"mdev\"\nhwpt = \"own\""),
        device("armed_later = true\n[[device]]\nname = \"nic1\""),
        format!("{smallest}{many}"),
        edit("\"transfer\"", "\"exec\"") + "[new]\nuid = 7",
        top("kernel = \"2.4\""),
        top("dma = \"type1\""),
        top("dma = \"type1\"\nvariant = \"type1\"") + "[[iommufd]]\nname = \"iommufd0\"",
        top("defects = [\"window-left-open\"]"),
        top("wrong = \"ram-other\"\nrefused = true"),
        top("mutant = \"row old revoke\""),
    ]
}

/// Returns true if a documented error, with `…` for what it leaves out, is this one.
fn is_error(documented: &str, error: &str) -> bool {
    let mut rest = Some(error);
    for part in documented.split('…') {
        rest = rest.and_then(|rest| rest.find(part).map(|at| &rest[at + part.len()..]));
    }
    let starts = documented.split('…').next().is_some_and(|first| error.starts_with(first));
    starts && rest.is_some_and(|rest| rest.is_empty() || documented.ends_with('…'))
}

/// Every documented error is one that the parser gives, in the same words.
#[test]
fn errors_are_those_of_the_parser() {
    let page = page();
    let (_, section) = page.split_once("## Errors and their cure").expect("a section");
    let documented: Vec<_> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split(" | ").next().expect("a cell").trim_start_matches("| "))
        .map(|cell| cell.trim_matches('`').trim())
        .filter(|error| !error.contains("cannot be started"))
        .collect();
    let given: Vec<_> = mistakes().iter().map(|text| refusal(text)).collect();
    let is_documented = |error: &&String| documented.iter().any(|it| is_error(it, error));
    let missing: Vec<_> = given.iter().filter(|error| !is_documented(error)).collect();
    let is_given = |it: &&&str| given.iter().any(|error| is_error(it, error));
    let unknown: Vec<_> = documented.iter().filter(|it| !is_given(it)).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/scenario.md lacks {missing:#?}\nand the parser does not give {unknown:#?}"
    );
}
