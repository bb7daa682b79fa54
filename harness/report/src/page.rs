//! The page.
#![allow(missing_docs)]
use crate::*;

pub const MAX_PAGE_BYTES: usize = 5_000_000;
#[derive(Clone, Debug)]
pub struct Partial { pub done: u64, pub of: u64 }
#[derive(Clone, Debug)]
pub struct Doubt { pub code: String, pub raised_if: String, pub explanation: String, pub advice: String, pub raised_for: String }
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub title: String,
    pub command: String,
    pub partial: Option<Partial>,
    pub interval: String,
    pub records: Vec<Record>,
    pub samples: Samples,
    pub figures: Vec<Figure>,
    pub surfaces: Vec<Surface>,
    pub doubts: Vec<Doubt>,
    pub manifest: serde_json::Value,
}
pub fn html(_page: &Page) -> Result<String, ReportError> { Ok(String::new()) }
