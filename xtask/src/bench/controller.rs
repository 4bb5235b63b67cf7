//! What the controller costs EC2, the API server and its node.

use anyhow::Result;

use crate::workspace::{Workspace, musl_target};
use crate::{image, step};

/// Measures the program that an image carries.
pub(crate) fn run(workspace: &Workspace, quick: bool) -> Result<String> {
    image::build(workspace)?;
    let mut build = workspace.cargo(&["build", "--quiet", "--release"]);
    build.args(["--package", "eniway-bench"]);
    step::run("building the benchmark of the controller", &mut build)?;
    let mut bench = workspace.command(workspace.target.join("release/eniway-bench"));
    let release = workspace.target.join(musl_target()).join("release");
    bench
        .arg("--controller")
        .arg(release.join("eniway-controller"));
    if quick {
        bench.arg("--quick");
    }
    let what = if quick {
        "the controller, with 1 and 10 nodes (4 minutes)"
    } else {
        "the controller, with 1 to 5,000 nodes (20 minutes)"
    };
    let tables = step::capture(what, &mut bench)?;
    if quick {
        return Ok(tables);
    }
    let mut kills = workspace.command(workspace.target.join("release/eniway-bench"));
    kills.args(["--kills", "200"]).arg("--controller");
    kills.arg(release.join("eniway-controller"));
    let killed = step::capture("the controller, killed 400 times (30 minutes)", &mut kills)?;
    Ok([tables, killed].join("\n"))
}
