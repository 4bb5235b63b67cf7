//! How soon an interface that comes is set up, and what the agent takes for it.

use anyhow::Result;

use crate::workspace::{Workspace, musl_target};
use crate::{image, step};

/// Measures the program that an image carries.
pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    image::build(workspace)?;
    let mut build = workspace.cargo(&["build", "--quiet", "--release"]);
    build.args(["--package", "eniway-bench"]);
    step::run("building the benchmark of the agent", &mut build)?;
    let mut bench = workspace.command(workspace.target.join("release/eniway-bench"));
    let release = workspace.target.join(musl_target()).join("release");
    bench.args(["--plugs", "200"]);
    bench.arg("--agent").arg(release.join("eniway-agent"));
    bench
        .arg("--controller")
        .arg(release.join("eniway-controller"));
    step::capture("the agent, as an interface comes 200 times", &mut bench)
}
