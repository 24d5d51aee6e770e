//! Parses a scenario file, resolves its names and refuses contradictions.

use super::file::{File, ProcessEntry};
use super::injections::{
    check_corruption, check_kernel, check_variant, find_corruption, find_defect, find_mutant,
    find_variant,
};
use super::resolved::{Credentials, Scenario};
use handoff_model::abi::ids::{PAGE_BYTES, Uid};
use handoff_model::protocol::Mode;
use handoff_sim_kernel::Profile;

/// The default simulated kernel.
const NEWEST: &str = "7.3";

/// Returns the default simulated kernel.
pub(crate) fn newest() -> Profile {
    Profile::by_name(NEWEST).expect("the newest kernel is a profile")
}

/// The default variant.
const SAFE: &str = "safe";

/// The reason why a scenario was refused: one line, with the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct ParseError {
    pub(super) file: String,
    pub(super) what: String,
}

impl Scenario {
    /// Parses and resolves a scenario. `file` is its name in error messages.
    ///
    /// # Errors
    /// Fails if the text is not TOML, has an unknown key or name, or contradicts itself.
    pub fn parse(file: &str, text: &str) -> Result<Self, ParseError> {
        let refuse = |what: String| ParseError { file: file.to_owned(), what };
        let parsed: File = toml::from_str(text).map_err(|error| refuse(place(text, &error)))?;
        parsed.resolve().map_err(refuse)
    }
}

/// Formats a TOML error as one line: `line 3: unknown field …`.
fn place(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    match error.span() {
        Some(span) => format!("line {}: {message}", 1 + text[..span.start].matches('\n').count()),
        None => message,
    }
}

impl ProcessEntry {
    fn or(self, other: Self) -> Self {
        Self {
            uid: self.uid.or(other.uid),
            cap_ipc_lock: self.cap_ipc_lock.or(other.cap_ipc_lock),
            memlock_pages: self.memlock_pages.or(other.memlock_pages),
        }
    }

    fn resolve(self) -> Credentials {
        Credentials {
            uid: Uid(self.uid.unwrap_or(1000)),
            cap_ipc_lock: self.cap_ipc_lock.unwrap_or(false),
            memlock_bytes: self
                .memlock_pages
                .map_or(u64::MAX, |pages| pages.saturating_mul(PAGE_BYTES)),
        }
    }
}

impl File {
    pub(super) fn resolve(self) -> Result<Scenario, String> {
        let kernel = self.kernel.as_deref().unwrap_or(NEWEST);
        let profile = Profile::by_name(kernel).ok_or_else(|| {
            let known = Profile::all().map(Profile::name).collect::<Vec<_>>().join(", ");
            format!("unknown kernel {kernel:?}; use one of {known}")
        })?;
        let defects: Vec<_> =
            self.defects.iter().map(|id| find_defect(id)).collect::<Result<_, _>>()?;
        let corruption = self.corruption.as_deref().map(find_corruption).transpose()?;
        check_corruption(corruption, self.mode, self.dma, self.refused)?;
        let variant = self.variant.as_deref().unwrap_or(SAFE);
        let variant = find_variant(variant, self.mode, self.dma)?;
        let mutant = self.mutant.as_deref().map(|name| find_mutant(variant, name)).transpose()?;
        check_kernel(variant, kernel)?;
        defects.iter().try_for_each(|defect| check_variant(defect, variant))?;
        let old = self.process.resolve();
        let new = self.new.or(self.process).resolve();
        if self.mode == Mode::Exec && new != old {
            return Err(
                "[new] differs from [process], but execve changes neither user nor limits; remove \
                 [new], or set mode = \"transfer\""
                    .to_owned(),
            );
        }
        let (mode, may, refused) = (self.mode, self.fault_budget, self.refused);
        let (name, about) = (self.name.clone(), self.about.clone());
        Ok(Scenario {
            plan: self.plan()?,
            name,
            about,
            mode,
            kernel: profile,
            old,
            new,
            fault_budget: may,
            refused,
            corruption,
            variant,
            defects,
            mutant,
        })
    }
}
