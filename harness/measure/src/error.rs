//! Why a measurement has no findings, or fewer than it should.

use flatscape_engine::EngineError;
use flatscape_host::HostError;
use flatscape_intake::refusal::Refusal;

use crate::attack::AttackError;
use crate::findings::FindingsError;
use crate::link::LinkError;
use crate::stage::StageError;

/// Why a job has no findings, or fewer than it should.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The plugin is at fault, or does not offer what was requested.
    #[error(transparent)]
    Plugin(#[from] HostError),
    /// The program could not be linked or run.
    #[error("{component}: {source}")]
    Attack {
        /// Id of the component.
        component: String,
        /// What happened.
        source: AttackError,
    },
    /// The findings could not be joined or read.
    #[error(transparent)]
    Findings(#[from] FindingsError),
    /// The request cannot be served, or the findings could not be stored.
    #[error(transparent)]
    Stored(#[from] Refusal),
    /// The run was asked to stop; nothing of the job is kept.
    #[error("the run was asked to stop")]
    Interrupted,
}

/// What the plugin host refused, as everything else is refused.
pub fn of_host(error: HostError) -> Refusal {
    let number = error.id.trim_start_matches('P').parse().unwrap_or(0);
    let refusal = match error.exit_code() {
        2 => Refusal::usage(91, error.sentence),
        6 => Refusal::engine(number, error.sentence),
        7 => Refusal::output(number, error.sentence),
        _ => Refusal::plugin(number, error.sentence),
    };
    Refusal { help: error.help, ..refusal }
}

impl From<MeasureError> for Refusal {
    fn from(error: MeasureError) -> Refusal {
        let sentence = error.to_string();
        match error {
            MeasureError::Plugin(error) => of_host(error),
            MeasureError::Stored(error) => error,
            MeasureError::Interrupted => Refusal::state(108, sentence).help("repeat the command with --resume"),
            MeasureError::Findings(_) => Refusal::output(102, sentence),
            MeasureError::Attack { source, .. } => match source {
                AttackError::Link(LinkError::Differentiate(_)) => Refusal::model(26, sentence),
                AttackError::Link(LinkError::Lacking { .. }) => Refusal::model(66, sentence),
                AttackError::Link(_) | AttackError::Stage(StageError::Missing { .. } | StageError::Result { .. }) => {
                    Refusal::plugin(134, sentence)
                }
                AttackError::Engine(error) | AttackError::Stage(StageError::Engine(error)) => match error {
                    EngineError::Died { .. } => Refusal::engine(114, sentence),
                    EngineError::Memory { .. } => Refusal::engine(115, sentence),
                    _ => Refusal::engine(110, sentence),
                },
                AttackError::Interrupted => Refusal::state(108, sentence).help("repeat the command with --resume"),
            },
        }
    }
}
