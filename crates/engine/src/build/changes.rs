//! `--change` of `docker commit` and `docker import`: instructions that change a configuration and nothing else.

use dockerfile::Kind;
use engine_api::error::{ApiError, Result};
use engine_api::types::Config;

use super::args::Args;
use super::stage::State;
use crate::image::shown_config;

/// Carries the changes out.
pub(crate) fn apply(config: &mut Config, changes: &[String]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let system = |error: serde_json::Error| ApiError::system(error.to_string());
    let document = serde_json::to_vec(&*config).map_err(system)?;
    let mut state = State::default();
    state.image.config = serde_json::from_slice(&document).map_err(system)?;
    let mut args = Args::default();
    let text = changes.join("\n");
    let instructions =
        dockerfile::parse_change(&text).map_err(|error| ApiError::invalid(error.message))?;
    for instruction in &instructions {
        match &instruction.kind {
            Kind::Workdir(path) => {
                state.set_workdir(path, &args, '\\')?;
            }
            _ => {
                state.configure(instruction, &mut args, '\\', false)?;
            }
        }
    }
    let changed = shown_config(&state.image.config);
    *config = Config {
        user: changed.user,
        exposed_ports: changed.exposed_ports,
        env: changed.env,
        cmd: changed.cmd,
        entrypoint: changed.entrypoint,
        volumes: changed.volumes,
        working_dir: changed.working_dir,
        labels: changed.labels,
        stop_signal: changed.stop_signal,
        healthcheck: changed.healthcheck,
        on_build: changed.on_build,
        ..std::mem::take(config)
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_change_the_configuration() {
        let mut config = Config {
            hostname: "kept".to_string(),
            working_dir: "/a".to_string(),
            ..Config::default()
        };
        let changes = [
            "CMD [\"sh\", \"-c\", \"x\"]",
            "ENV A=1 B=2",
            "WORKDIR b",
            "EXPOSE 80",
        ];
        apply(&mut config, &changes.map(str::to_string)).expect("valid");
        assert_eq!(
            config.cmd,
            Some(["sh", "-c", "x"].map(str::to_string).to_vec())
        );
        assert_eq!(
            config.env,
            Some(["A=1", "B=2"].map(str::to_string).to_vec())
        );
        assert_eq!(
            (config.working_dir.as_str(), config.hostname.as_str()),
            ("/a/b", "kept")
        );
        let refused = apply(&mut config, &["RUN x".to_string()]).expect_err("refused");
        assert_eq!(refused.message, "RUN is not a valid change command");
    }
}
