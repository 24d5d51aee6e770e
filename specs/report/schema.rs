//! JSON Schemas of documents, generated from the types that are serialised.

use super::{Envelope, VERSION, bugs, check, compare, conform, doctor, lockstep, replay, show};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::json;

/// A document of one kind.
#[derive(Serialize, JsonSchema)]
struct Of<B> {
    #[serde(flatten)]
    envelope: Envelope,
    #[serde(flatten)]
    body: B,
}

/// Returns the schema of the envelope and of each kind of document, by name.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("envelope", schema::<Envelope>("envelope", None)),
        of::<check::Check>("check"),
        of::<compare::Compare>("compare"),
        of::<show::Show>("show"),
        of::<bugs::Bugs>("bugs"),
        of::<doctor::Doctor>("doctor"),
        of::<conform::Conform>("conform"),
        of::<lockstep::Lockstep>("lockstep"),
        of::<replay::Replay>("replay"),
    ]
}

fn of<B: JsonSchema>(kind: &'static str) -> (&'static str, Schema) {
    let mut schema = schema::<Of<B>>(kind, Some(kind));
    let body = generator().into_root_schema_for::<B>();
    schema.insert("description".to_owned(), body.get("description").cloned().unwrap_or_default());
    (kind, schema)
}

/// Returns a generator for serialised documents: every field is required, because a missing value
/// is written as null.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

fn schema<T: JsonSchema>(name: &str, kind: Option<&str>) -> Schema {
    let mut schema = generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), json!(format!("handoff {name}")));
    let fields = schema.get_mut("properties").and_then(|fields| fields.as_object_mut());
    let fields = fields.expect("a document is an object");
    fields["format"]["const"] = json!("handoff");
    fields["version"]["const"] = json!(VERSION);
    if let Some(kind) = kind {
        fields["kind"]["const"] = json!(kind);
    }
    schema
}
