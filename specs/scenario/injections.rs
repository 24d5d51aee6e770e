//! What a scenario plants by name: a variant, known bugs, what is not so, what the protocol leaves
//! out.

use super::corruption::{self, CORRUPTIONS, Corruption};
use super::mutants;
use handoff_model::protocol::Mode;
use handoff_model::variants::defects::{self, Defect};
use handoff_model::variants::mutants::Mutation;
use handoff_model::variants::{self, VARIANTS, Variant};
use handoff_model::vm::Dma;

pub(crate) fn find_variant(id: &str, mode: Mode, dma: Dma) -> Result<&'static Variant, String> {
    let known = VARIANTS.iter().filter(|variant| variant.is_for(mode, dma)).map(|v| v.id);
    let known = || known.collect::<Vec<_>>().join(", ");
    match variants::find(id, mode) {
        Some(variant) if variant.dma == dma => Ok(variant),
        Some(variant) => {
            let word = if variant.dma == Dma::Type1 { "type1" } else { "iommufd" };
            let known = known();
            Err(format!(
                "variant {id:?} is for dma = \"{word}\"; use that, or variant = one of {known}"
            ))
        }
        None => {
            let known = known();
            Err(format!("variant {id:?} is not known with mode = \"{mode}\"; one of {known}"))
        }
    }
}

/// A kernel that only one variant is for, and a variant that is for one kernel, come together.
pub(super) fn check_kernel(variant: &Variant, kernel: &str) -> Result<(), String> {
    let of_kernel = VARIANTS.iter().find(|variant| variant.kernel == Some(kernel));
    match (variant.kernel, of_kernel) {
        (Some(own), _) if own != kernel => Err(format!(
            "variant {:?} needs kernel = \"{own}\"; use that, or another variant",
            variant.id
        )),
        (None, Some(other)) => Err(format!(
            "kernel {kernel:?} needs variant = {:?}; use that, or another kernel",
            other.id
        )),
        _ => Ok(()),
    }
}

/// A bug in the rows of one variant and mode does nothing in another.
pub(super) fn check_variant(defect: &Defect, variant: &Variant) -> Result<(), String> {
    let differs = |key: &str, wanted: &str| {
        let id = defect.id;
        Err(format!("defect {id:?} shows only with {key} = \"{wanted}\"; use that, or remove it"))
    };
    if defect.mode != variant.mode {
        return differs("mode", defect.mode.name());
    }
    if defect.variant != variant.id {
        return differs("variant", defect.variant);
    }
    Ok(())
}

pub(super) fn find_corruption(id: &str) -> Result<&'static Corruption, String> {
    corruption::find(id).ok_or_else(|| {
        let known =
            CORRUPTIONS.iter().map(|corruption| corruption.id).collect::<Vec<_>>().join(", ");
        format!("wrong = {id:?} is not known; one of {known}")
    })
}

pub(super) fn check_corruption(
    corruption: Option<&Corruption>,
    mode: Mode,
    dma: Dma,
    refused: bool,
) -> Result<(), String> {
    let Some(corruption) = corruption else { return Ok(()) };
    let id = corruption.id;
    if dma == Dma::Type1 && corruption.is_of_iommufd() {
        return Err(format!("wrong = {id:?} is told of an iommufd; remove it, or dma = \"type1\""));
    }
    if !corruption.is_for(mode) {
        let other = if mode == Mode::Exec { "transfer" } else { "exec" };
        return Err(format!("wrong = {id:?} is nothing in this mode; use mode = \"{other}\""));
    }
    if refused {
        return Err(format!("wrong = {id:?} says itself what is due; remove refused = true"));
    }
    Ok(())
}

pub(super) fn find_mutant(variant: &Variant, name: &str) -> Result<Mutation, String> {
    mutants::find(variant, name).ok_or_else(|| {
        format!(
            "mutant {name:?} is not one of this variant and mode; `handoff list mutants` has \
                 all of the safe ones"
        )
    })
}

pub(super) fn find_defect(id: &str) -> Result<&'static Defect, String> {
    defects::find(id).ok_or_else(|| {
        let known = defects::all().map(|defect| defect.id).collect::<Vec<_>>().join(", ");
        format!("defect {id:?} is not known; one of {known}")
    })
}
