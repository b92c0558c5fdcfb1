//! `engine worker ROLE`: the entry points of the workers.

use crate::cli::BUILD_ID;
use crate::error::FAILED;
use holdfast_core::ids::Role;

/// Runs the worker to its end; gives the exit code.
pub(crate) fn run(role: Role) -> u8 {
    match role {
        // The only processes that talk to a venue by TLS. Fails only when a provider is there already.
        Role::Sensor | Role::Engine | Role::Deadman => {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Role::Venue | Role::Api => {}
    }
    let code = match role {
        Role::Venue => holdfast_kit::run(BUILD_ID, role, holdfast_paper_venue::work),
        Role::Deadman => holdfast_kit::run(BUILD_ID, role, holdfast_deadman::run),
        Role::Sensor => holdfast_kit::run(BUILD_ID, role, holdfast_sensor::run),
        Role::Api => holdfast_kit::run(BUILD_ID, role, holdfast_api::run),
        Role::Engine => holdfast_kit::run(BUILD_ID, role, holdfast_engine::run),
    };
    u8::try_from(code).unwrap_or(FAILED)
}
