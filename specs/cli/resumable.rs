//! `handoff check --checkpoint`: a search that goes on where an earlier one stopped.

use super::Failure;
use crate::check::checkpoint::{self, CheckedInput};
use crate::check::packed::{Packed, PackedSystem};
use crate::scenario::library::text_of;
use handoff_checker::search::{Checkpoint, Exploration, Limits, StopReason, explore_in_runs};
use std::fmt::Display;
use std::io;
use std::path::Path;

/// A check that can be stopped, and the file that it goes on from.
pub(super) struct Pause<'a> {
    file: &'a Path,
    name: &'a str,
    scenario: String,
    from: Option<Checkpoint>,
    /// How many states there were in the beginning.
    before: Option<u32>,
    /// What stopped the search, and whether the file was written.
    stopped: Option<(StopReason, io::Result<()>)>,
}

impl<'a> Pause<'a> {
    /// Reads the file, where there is one; where there is none, one must be possible.
    pub(super) fn begin(name: &'a str, file: &'a Path) -> Result<Self, Failure> {
        let text = text_of(name).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
        let mut pause =
            Self { file, name, scenario: text, from: None, before: None, stopped: None };
        let from = checkpoint::load(file, pause.of()).map_err(|error| pause.refused(&error))?;
        checkpoint::can_save(file).map_err(|error| pause.cannot(&error))?;
        pause.before = from.as_ref().map(Checkpoint::states);
        pause.from = from;
        Ok(pause)
    }

    fn of(&self) -> CheckedInput<'_> {
        CheckedInput { name: self.name, scenario: &self.scenario }
    }

    /// Searches, from where the file says, and writes it where a limit cuts that short.
    pub(super) fn search(
        &mut self,
        packed: &PackedSystem<'_>,
        limits: Limits,
    ) -> Result<Exploration<Packed>, Failure> {
        let searched = explore_in_runs(packed, packed, limits, self.from.take());
        let (found, left) = searched.map_err(|error| self.refused(&error))?;
        let saved = left.map(|left| checkpoint::save(&left, self.of(), self.file));
        self.stopped = found.cut.zip(saved);
        Ok(found)
    }

    /// Says what became of it. A file that is no longer of use is taken away.
    pub(super) fn end(self) -> Result<Vec<String>, Failure> {
        let file = self.file.display();
        let went_on = |before| format!("went on from {file}, with {before} states");
        let mut notes: Vec<_> = self.before.map(went_on).into_iter().collect();
        match &self.stopped {
            Some((_, Err(error))) => return Err(self.cannot(error)),
            Some((StopReason::Time(_), Ok(()))) => {
                notes.push(format!("stopped; the same command goes on from {file}"));
            }
            Some((_, Ok(()))) => notes
                .push(format!("stopped; the same command with a higher limit goes on from {file}")),
            None if self.before.is_some() => {
                std::fs::remove_file(self.file).map_err(|error| self.cannot(&error))?;
                notes.push(format!("the search has come to its end; {file} is removed"));
            }
            None => {}
        }
        Ok(notes)
    }

    fn cannot(&self, error: &dyn Display) -> Failure {
        Failure::Usage(format!("{}: {error}", self.file.display()))
    }

    fn refused(&self, error: &dyn Display) -> Failure {
        let file = self.file.display();
        Failure::Usage(format!("{file}: cannot go on from it: {error}; remove it to begin anew"))
    }
}
