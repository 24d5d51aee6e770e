//! The trace format: calls survive a round trip, traces of other programs are decoded as far as
//! they match a variant of `Call`, and invalid input is rejected with its line and the reason.

mod foreign;
mod own;
mod variants;

use handoff_model::trace::{Event, Header, Reader};

/// The header of every trace below.
fn header() -> String {
    Header::new("sim", "7.3.4").line()
}

fn read(lines: &[&str]) -> Result<Vec<Event>, String> {
    let lines = lines.iter().map(|line| (*line).to_owned());
    let reader = Reader::new(lines).map_err(|error| error.to_string())?;
    reader.map(|row| row.map(|(_, event)| event).map_err(|error| error.to_string())).collect()
}

#[track_caller]
fn is_refused(lines: &[&str], why: &str) {
    let error = read(lines).expect_err(why);
    assert!(error.starts_with(why), "{error}");
}

#[test]
fn bad_input_is_refused_with_its_line() {
    let header = header();
    let close = r#"{"seq":7,"pid":1,"tid":1,"sys":"close","fd":3,"ret":0}"#;
    let newer = header.replace(r#""version":1"#, r#""version":9"#);
    let none = header.replace(r#""version":1"#, r#""version":0"#);
    is_refused(&[], "line 1: not a handoff trace");
    is_refused(&["#!/bin/sh"], "line 1: not a handoff trace");
    is_refused(&[close], "line 1: not a handoff trace");
    is_refused(&[&none], "line 1: not a handoff trace");
    is_refused(&[&header.replace("handoff", "other")], "line 1: not a handoff trace");
    is_refused(&[&newer], "line 1: version 9 is newer than this reader's 1");
    is_refused(&[&header, close, "garbage"], "line 3: not JSON: expected value");
    is_refused(&[&header, &close[..30], close], "line 2: not JSON: EOF");
    is_refused(&[&header, &close[..30]], "line 2: truncated");
    is_refused(&[&header, ""], "line 2: truncated");
    is_refused(&[&header, close, close], "line 3: seq 7 does not follow 7");
    is_refused(&[&header, close, &close.replace('7', "6")], "line 3: seq 6 does not follow 7");
    for (from, to, why) in [
        (r#""fd":3,"#, "", "line 2: not a record: missing field `fd`"),
        (r#""pid":1,"#, "", "line 2: not a record: missing field `pid`"),
        (r#""fd":3"#, r#""fd":"3""#, "line 2: not a record: invalid type: string \"3\""),
        (r#""sys":"close","#, "", "line 2: not a record: missing field `sys`"),
    ] {
        is_refused(&[&header, &close.replace(from, to)], why);
    }
}

#[test]
fn unknown_fields_and_records_are_accepted() {
    let more = header().replace('{', r#"{"recorder":{"name":"x"},"#);
    let known = r#"{"seq":1,"pid":1,"tid":1,"sys":"close","fd":3,"cpu":2,"ret":0}"#;
    let unknown = r#"{"seq":2,"pid":1,"tid":1,"sys":"madvise","addr":0,"ret":0}"#;
    let events = read(&[&more, known, unknown]).expect("a trace");
    let names: Vec<String> = events.iter().map(Event::name).collect();
    assert_eq!(names, ["close", "madvise"]);
}
