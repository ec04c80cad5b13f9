//! `refrain semantic`: which routes answer similar prompts, what checks have found of those answers, and the switch.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Place;
use super::admin::{self, AdminArgs};
use super::output::{columns, print, print_json, printable};
use crate::calibration::Interval;

/// Show which routes answer similar prompts and how often that was wrong, or switch one
///
/// Without `on` or `off` it shows every route, with what checks have found (`verify_sample_rate` in `[cache.semantic]`). A
/// route whose answers to similar prompts were wrong too often (`max_error_rate`) goes off by itself, and on again only by
/// `refrain semantic on`, which forgets what was counted. Off means that equal requests alone are answered from the cache.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  refrain semantic\n  refrain semantic off --model support\n  \
                  refrain semantic on                  the route of requests that name no model\n  \
                  refrain semantic on --model other    all names that are no route's")]
pub struct SemanticArgs {
    /// Answer similar prompts again, or equal ones only
    position: Option<Position>,
    /// The route [default: every one where they are shown, else the one of requests that name no model]
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Position {
    On,
    Off,
}

/// The answer of `GET /admin/semantic`.
#[derive(Debug, Deserialize)]
struct Routes {
    routes: Vec<Route>,
}

/// The answer of `PUT /admin/semantic`.
#[derive(Debug, Deserialize)]
struct Route {
    model: String,
    enabled: bool,
    since: Option<String>,
    reason: Option<String>,
    checks: Option<Checks>,
}

/// What checks have found of a route's hits.
#[derive(Debug, Deserialize)]
pub(super) struct Checks {
    checked: u64,
    different: u64,
    rate: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

pub async fn run(args: SemanticArgs, place: &Place) -> anyhow::Result<()> {
    let SemanticArgs { position, model, admin } = args;
    if let Some(position) = position {
        let model = model.as_deref().unwrap_or("default");
        let wish = json!({"model": model, "enabled": position == Position::On});
        let turned = admin::put(&admin, place, "/admin/semantic", &wish).await?;
        return show(&admin, turned, |turned| Ok(vec![Route::deserialize(turned)?]));
    }
    let mut all = admin::get(&admin, place, "/admin/semantic").await?;
    if let (Some(model), Some(routes)) = (&model, all["routes"].as_array_mut()) {
        let known: Vec<_> = routes.iter().filter_map(|it| it["model"].as_str().map(str::to_owned)).collect();
        routes.retain(|route| route["model"] == **model);
        if routes.is_empty() {
            bail!("`{model}` is no route here; known are: {}", known.join(", "));
        }
    }
    show(&admin, all, |all| Ok(Routes::deserialize(all)?.routes))
}

fn show(
    admin: &AdminArgs,
    answer: Value,
    read: impl FnOnce(Value) -> anyhow::Result<Vec<Route>>,
) -> anyhow::Result<()> {
    if admin.json {
        return print_json(&answer);
    }
    let routes = read(answer).context("cannot read the server's answer")?;
    let rows: Vec<_> = routes.iter().map(|route| (printable(&route.model), route.text())).collect();
    print(&columns(&rows, 0))
}

impl Route {
    fn text(&self) -> String {
        let checks = self.checks.as_ref().map_or_else(|| "nothing checked".to_owned(), Checks::text);
        if self.enabled {
            return format!("on   {checks}");
        }
        let since = self.since.as_deref().unwrap_or("an unknown time");
        let why = match self.reason.as_deref() {
            Some("checks") => "too many were wrong",
            _ => "somebody said so",
        };
        format!("off  since {} ({why}); {checks}", printable(since))
    }
}

impl Checks {
    pub(super) fn text(&self) -> String {
        let Self { checked, different, rate, low, high } = self;
        let mut text = format!("{different} of {checked} checked answers to similar prompts were wrong");
        if let (Some(share), Some(low), Some(high)) = (*rate, *low, *high) {
            text += &format!(": {}", Interval { share, low, high });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_one_line() {
        let route = |value| Route::deserialize(value).expect("a route").text();
        let mut asked =
            json!({"model": "support", "enabled": true, "since": null, "reason": null, "checks": null});
        assert_eq!(route(asked.clone()), "on   nothing checked");
        asked["checks"] = json!({"checked": 40, "different": 12, "rate": 0.3, "low": 0.181, "high": 0.454});
        assert_eq!(
            route(asked.clone()),
            "on   12 of 40 checked answers to similar prompts were wrong: 30.0 % (18.1–45.4)"
        );
        asked["enabled"] = json!(false);
        asked["since"] = json!("2027-01-31T12:00:00Z");
        asked["reason"] = json!("checks");
        assert!(
            route(asked)
                .starts_with("off  since 2027-01-31T12:00:00Z (too many were wrong); 12 of 40 checked")
        );
    }
}
