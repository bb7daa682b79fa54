//! What a run is about, read off its rows: data, engine, seed, plugins, models. It fills gaps from the fields of the page.

use crate::page::{ModelFile, Page};
use crate::record::Record;

/// What a run is about. Texts are as the rows hold them.
pub(super) struct Provenance<'a> {
    pub(super) dataset: &'a str,
    pub(super) split: &'a str,
    pub(super) engine: &'a str,
    pub(super) device: &'a str,
    pub(super) seed: Option<u64>,
    /// Id, version and SHA-256 of every plugin, in order of first appearance.
    pub(super) plugins: Vec<(&'a str, &'a str, &'a str)>,
    pub(super) models: Vec<ModelFile>,
}

impl<'a> Provenance<'a> {
    pub(super) fn of(page: &'a Page) -> Provenance<'a> {
        let first = |field: fn(&Record) -> &str| page.records.iter().map(field).find(|text| !text.is_empty());
        let mut plugins = Vec::new();
        for record in page.records.iter().filter(|record| !record.plugin.is_empty()) {
            let plugin = (record.plugin.as_str(), record.component_version.as_str(), record.plugin_sha256.as_str());
            if !plugins.contains(&plugin) {
                plugins.push(plugin);
            }
        }
        Provenance {
            dataset: first(|record| &record.dataset).unwrap_or(""),
            split: first(|record| &record.split).unwrap_or(""),
            engine: first(|record| &record.engine).unwrap_or(""),
            device: first(|record| &record.device).unwrap_or(""),
            seed: page.records.first().map(|record| record.seed),
            plugins,
            models: models(page),
        }
    }
}

/// The models of the rows in order of first appearance, with their files; then those that only have a file.
pub(super) fn models(page: &Page) -> Vec<ModelFile> {
    let mut models: Vec<ModelFile> = Vec::new();
    for record in page.records.iter().filter(|record| !record.model.is_empty()) {
        if models.iter().any(|model| model.name == record.model && model.sha256 == record.model_sha256) {
            continue;
        }
        let same =
            |model: &&ModelFile| model.name == record.model && (model.sha256 == record.model_sha256 || model.sha256.is_empty());
        let file = page.models.iter().find(same).map(|model| model.file.clone()).unwrap_or_default();
        models.push(ModelFile { name: record.model.clone(), sha256: record.model_sha256.clone(), file });
    }
    for model in &page.models {
        if !models.iter().any(|known| known.name == model.name) {
            models.push(model.clone());
        }
    }
    models
}
