//! Looks up what a scenario selects by name: a variant, defects, a corruption, a mutant.

use super::corruption::{self, CORRUPTIONS, Corruption};
use super::mutants;
use handoff_model::protocol::Mode;
use handoff_model::variants::defects::{self, Defect};
use handoff_model::variants::mutants::Mutation;
use handoff_model::variants::{self, VARIANTS, Variant};
use handoff_model::vm::Dma;

/// Returns the variant with this name for a mode and a kind of DMA translation.
///
/// # Errors
/// Fails if the name is unknown, or is for the other kind of DMA translation.
pub(crate) fn find_variant(id: &str, mode: Mode, dma: Dma) -> Result<&'static Variant, String> {
    let known = VARIANTS.iter().filter(|variant| variant.is_for(mode, dma)).map(|v| v.id);
    let known = || known.collect::<Vec<_>>().join(", ");
    match variants::find(id, mode) {
        Some(variant) if variant.dma == dma => Ok(variant),
        Some(variant) => {
            let word = if variant.dma == Dma::Type1 { "type1" } else { "iommufd" };
            let known = known();
            Err(format!(
                "variant {id:?} is for dma = \"{word}\"; set that, or use variant = one of {known}"
            ))
        }
        None => {
            let known = known();
            Err(format!("unknown variant {id:?} for mode = \"{mode}\"; use one of {known}"))
        }
    }
}

/// Fails unless a variant that requires one kernel runs on that kernel, and only it does.
pub(super) fn check_kernel(variant: &Variant, kernel: &str) -> Result<(), String> {
    let of_kernel = VARIANTS.iter().find(|variant| variant.kernel == Some(kernel));
    match (variant.kernel, of_kernel) {
        (Some(own), _) if own != kernel => Err(format!(
            "variant {:?} requires kernel = \"{own}\"; set that, or use another variant",
            variant.id
        )),
        (None, Some(other)) => Err(format!(
            "kernel {kernel:?} requires variant = {:?}; set that, or use another kernel",
            other.id
        )),
        _ => Ok(()),
    }
}

/// Fails unless a defect is of this variant and mode; in others it has no effect.
pub(super) fn check_variant(defect: &Defect, variant: &Variant) -> Result<(), String> {
    let differs = |key: &str, wanted: &str| {
        let id = defect.id;
        Err(format!("defect {id:?} is for {key} = \"{wanted}\"; set that, or remove the defect"))
    };
    if defect.mode != variant.mode {
        return differs("mode", defect.mode.name());
    }
    if defect.variant != variant.id {
        return differs("variant", defect.variant);
    }
    Ok(())
}

/// Returns the corruption with this name.
pub(super) fn find_corruption(id: &str) -> Result<&'static Corruption, String> {
    corruption::find(id).ok_or_else(|| {
        let known =
            CORRUPTIONS.iter().map(|corruption| corruption.id).collect::<Vec<_>>().join(", ");
        format!("unknown corruption wrong = {id:?}; use one of {known}")
    })
}

/// Fails unless a corruption can occur in this mode and with this kind of DMA translation, and
/// `refused` is not set as well.
pub(super) fn check_corruption(
    corruption: Option<&Corruption>,
    mode: Mode,
    dma: Dma,
    refused: bool,
) -> Result<(), String> {
    let Some(corruption) = corruption else { return Ok(()) };
    let id = corruption.id;
    if dma == Dma::Type1 && corruption.is_of_iommufd() {
        return Err(format!(
            "wrong = {id:?} applies to iommufds only; remove it, or dma = \"type1\""
        ));
    }
    if !corruption.is_for(mode) {
        let other = if mode == Mode::Exec { "transfer" } else { "exec" };
        return Err(format!("wrong = {id:?} cannot occur in this mode; set mode = \"{other}\""));
    }
    if refused {
        return Err(format!("wrong = {id:?} implies the expected outcome; remove refused = true"));
    }
    Ok(())
}

/// Returns the mutant of a variant with this name.
pub(super) fn find_mutant(variant: &Variant, name: &str) -> Result<Mutation, String> {
    mutants::find(variant, name).ok_or_else(|| {
        format!(
            "unknown mutant {name:?} of this variant and mode; `handoff list mutants` lists those \
             of the safe variants"
        )
    })
}

/// Returns the defect with this name.
pub(super) fn find_defect(id: &str) -> Result<&'static Defect, String> {
    defects::find(id).ok_or_else(|| {
        let known = defects::all().map(|defect| defect.id).collect::<Vec<_>>().join(", ");
        format!("unknown defect {id:?}; use one of {known}")
    })
}
