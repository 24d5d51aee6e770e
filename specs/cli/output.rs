//! The output of a command: text or JSON on standard output, and report files.

use super::{Exit, Failure, width};
use crate::report::{Body, Document, Format};
use clap::ValueEnum;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The format of standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Style {
    /// Text
    #[default]
    Text,
    /// For scripts: one JSON document, as docs/json.md describes it
    Json,
}

/// The option of a command that can write JSON.
#[derive(clap::Args, Clone, Copy, Default)]
pub(super) struct StyleArgument {
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Style,
}

impl StyleArgument {
    /// Returns the output of a command without report files.
    pub(super) fn to<W: Write>(self, out: &mut W) -> Output<'_, W> {
        Output::new(self.format, Vec::new(), out)
    }

    pub(super) fn style(self) -> Style {
        self.format
    }
}

/// The option of a command that can write report files.
#[derive(clap::Args, Clone, Default)]
pub(super) struct ReportArgument {
    #[arg(long = "report", value_name = "KIND=FILE", value_parser = report, help = report_help())]
    reports: Vec<(Format, PathBuf)>,
}

impl ReportArgument {
    /// Returns the report files, after checking that each can be created.
    pub(super) fn files(&self) -> Result<Vec<ReportFile>, Failure> {
        self.reports.iter().map(|(format, path)| ReportFile::new(*format, path)).collect()
    }
}

/// Returns the names of the kinds of reports.
fn kinds() -> String {
    let kinds = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    kinds.map(|kind| kind.get_name().to_owned()).collect::<Vec<_>>().join(", ")
}

fn report_help() -> String {
    format!("Also write a report to a file; kinds: {}. Repeat for more files", kinds())
}

/// Parses `KIND=FILE`.
fn report(text: &str) -> Result<(Format, PathBuf), String> {
    let (kind, path) =
        text.split_once('=').ok_or("expected KIND=FILE, such as junit=report.xml")?;
    let format = Format::from_str(kind, false)
        .map_err(|_| format!("{kind:?} is not a kind of report; kinds: {}", kinds()))?;
    match path {
        "" => Err("the name of the file is missing".to_owned()),
        path => Ok((format, PathBuf::from(path))),
    }
}

/// A report file to be written: a temporary file in the same folder, which is renamed at the end.
/// So the report is written atomically, and an error is detected before a long search.
pub(super) struct ReportFile {
    format: Format,
    path: PathBuf,
    file: NamedTempFile,
}

impl ReportFile {
    fn new(format: Format, path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Usage(format!("{}: {error}", path.display()));
        // A rename would replace a symbolic link or a device.
        let path = match fs::canonicalize(path) {
            Ok(there) if there.is_file() => there,
            Ok(_) => return Err(failed(io::Error::other("it is not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(failed(error)),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(".handoff-report-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .map_err(failed)?;
        Ok(Self { format, path, file })
    }

    fn write(mut self, document: &Document) -> Result<(), Failure> {
        let text = self.format.write(document);
        let written = self.file.write_all(text.as_bytes());
        let kept = written.and_then(|()| Ok(self.file.persist(&self.path).map(drop)?));
        kept.map_err(|error| Failure::Usage(format!("{}: {error}", self.path.display())))
    }
}

/// The destination of a command's results.
pub(super) struct Output<'a, W> {
    style: Style,
    files: Vec<ReportFile>,
    out: &'a mut W,
}

impl<'a, W: Write> Output<'a, W> {
    pub(super) fn new(style: Style, files: Vec<ReportFile>, out: &'a mut W) -> Self {
        Self { style, files, out }
    }

    /// Writes a part of the text output, as soon as it is known.
    pub(super) fn text(&mut self, text: impl FnOnce(usize) -> String) -> Result<(), Failure> {
        if self.style == Style::Text {
            self.out.write_all(text(width()).as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Writes the JSON output and the report files, and ends the command.
    pub(super) fn end(self, body: Body, exit: Exit) -> Result<Exit, Failure> {
        if self.style == Style::Text && self.files.is_empty() {
            return Ok(exit);
        }
        let document = Document::new(body, exit.code())
            .map_err(|error| Failure::Usage(format!("this program: {error}")))?;
        self.files.into_iter().try_for_each(|file| file.write(&document))?;
        if self.style == Style::Json {
            self.out.write_all(Format::Json.write(&document).as_bytes())?;
        }
        Ok(exit)
    }
}
