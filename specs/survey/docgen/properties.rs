//! The page of the properties.

use super::{Page, capitalized, list, sentence};
use crate::properties::{PROPERTIES, Property};
use crate::scenario::bugs::{self, KnownBug, Reproduction};
use handoff_model::variants::defects;
use handoff_model::variants::{VARIANTS, Variant};

/// Generates `docs/properties.md`: each property, why it matters, and the bugs that break it.
pub fn properties() -> Page {
    let mut page = Page::new("properties.md", "Properties", "specs/properties");
    page.add(
        "A check evaluates each property in every reachable state, or over every transition or \
         run, of a scenario. The verdicts for each variant of the protocol are in \
         [variants](variants/README.md).",
    );
    for property in PROPERTIES {
        section(&mut page, property);
    }
    page
}

fn section(page: &mut Page, property: &Property) {
    let Property { id, sentence: text, reason, scope, .. } = property;
    page.add(&format!("## {id}"));
    page.add(&format!("**{}**", sentence(text)));
    page.add(&format!("Why it matters: {}.", reason.trim_end_matches('.')));
    let mut facts = Vec::new();
    let describe = scope.describe();
    if !describe.is_empty() {
        facts.push(format!("A check that cannot evaluate it reports the reason: “{describe}”."));
    }
    facts.extend(exceptions(property));
    let is_broken = |bug: &&KnownBug| match bug.reproduction {
        Reproduction::Checked(of, _) => of == *id,
        _ => false,
    };
    let known = bugs::all().filter(is_broken);
    let known: Vec<_> = known.map(|bug| format!("[{0}](bugs/{0}.md)", bug.id)).collect();
    if !known.is_empty() {
        facts.push(format!("Known bugs that break it: {}.", known.join(", ")));
    }
    let breaks = defects::all().filter(|defect| defect.breaks == *id && defect.variant == "safe");
    let breaks: Vec<_> = breaks.map(|defect| format!("`{}`", defect.id)).collect();
    if !breaks.is_empty() {
        let of = "[Defects](variants/defects.md) of `safe` that break it";
        facts.push(format!("{of}: {}.", breaks.join(", ")));
    }
    if !facts.is_empty() {
        page.add(&list(facts));
    }
}

/// Returns a line for each documented limit of variants that do not promise a property.
fn exceptions(property: &Property) -> Vec<String> {
    let limit = |variant: &Variant| {
        let limits = variant.unpromised.iter();
        limits.clone().find(|(id, _)| *id == property.id).map(|(_, limit)| *limit)
    };
    let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
    for variant in VARIANTS {
        let Some(text) = limit(variant) else { continue };
        let name = format!("`{}` by {}", variant.id, variant.mode);
        match lines.iter_mut().find(|(other, _)| *other == text) {
            Some((_, names)) => names.push(name),
            None => lines.push((text, vec![name])),
        }
    }
    let line = |(text, names): (&str, Vec<String>)| {
        format!("Not promised by {}: {}.", names.join(", "), capitalized(text))
    };
    lines.into_iter().map(line).collect()
}
