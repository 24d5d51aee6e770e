//! Layout of text for a terminal: wrapped paragraphs, labels with a hanging indent, and text from
//! files made safe to print.

use std::borrow::Cow;
use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// The minimum number of columns for a text, however narrow the terminal is.
const COLUMNS_MIN: usize = 30;

/// Wraps one line of text at spaces. Continuation lines are indented by four columns more than the
/// line itself.
pub fn paragraph(line: &str, width: usize) -> String {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    hanging(indent, &format!("{indent}    "), text, width)
}

/// Wraps a text that follows a label. Continuation lines begin below the text, not below the label.
pub fn labelled(label: &str, text: &str, width: usize) -> String {
    hanging(label, &" ".repeat(display_width(label)), text, width)
}

/// Wraps a text at spaces. Its first line begins with `first`, each other line with `rest`. The
/// longer of the two determines the number of columns for the text.
pub fn hanging(first: &str, rest: &str, text: &str, width: usize) -> String {
    let indent = display_width(first).max(display_width(rest));
    let options = Options::new(width.saturating_sub(indent).max(COLUMNS_MIN))
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let lines = textwrap::wrap(text, options);
    first.to_owned() + &lines.join(&format!("\n{rest}")) + "\n"
}

/// Escapes characters that could forge lines or move the cursor: control characters, line and
/// paragraph separators, and marks that change the direction of text. For text from a file.
pub fn plain(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::{hanging, labelled, paragraph, plain};

    #[test]
    fn continuation_lines_are_indented() {
        let text = "aaaa bbbb cccc dddd eeee ffff gggg";
        for (wrapped, expected) in [
            (paragraph(text, 38), "aaaa bbbb cccc dddd eeee ffff gggg\n"),
            (paragraph(text, 37), "aaaa bbbb cccc dddd eeee ffff\n    gggg\n"),
            (paragraph(&format!("  {text}"), 10), "  aaaa bbbb cccc dddd eeee ffff\n      gggg\n"),
            (labelled("PASS  ", text, 40), "PASS  aaaa bbbb cccc dddd eeee ffff gggg\n"),
            (labelled("PASS  ", text, 39), "PASS  aaaa bbbb cccc dddd eeee ffff\n      gggg\n"),
            (hanging("1 ", "", text, 35), "1 aaaa bbbb cccc dddd eeee ffff\ngggg\n"),
            (
                labelled("→ ", "no-hyphen-is-a-place-to-break-at, and long words stay", 30),
                "→ no-hyphen-is-a-place-to-break-at,\n  and long words stay\n",
            ),
            (paragraph("", 40), "\n"),
        ] {
            assert_eq!(wrapped, expected);
        }
    }

    #[test]
    fn text_from_a_file_stays_on_its_line() {
        for (text, expected) in [
            ("two devices, “quoted”, é", "two devices, “quoted”, é"),
            ("x\n  proved: OWN-1", "x\\n  proved: OWN-1"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\r\tb\u{85}", "a\\r\\tb\\u{85}"),
            ("\u{202e}x\u{2028}", "\\u{202e}x\\u{2028}"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
