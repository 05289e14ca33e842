//! One JSON object per line: a figure of a subject, once for each peer it is compared with.

use serde_json::{Value, json};

use super::Report;

/// The objects, a router's ones as they came.
pub(crate) fn render(report: &Report<'_>) -> Vec<Value> {
    let mut objects = Vec::new();
    for row in report.rows() {
        let facts = row.figure.facts();
        let mut compared: Vec<(Value, Value)> = row
            .ratios
            .iter()
            .filter(|(_, ratio)| ratio.is_some())
            .map(|(peer, ratio)| (json!(ratio), json!(peer)))
            .collect();
        if compared.is_empty() {
            compared.push((Value::Null, Value::Null));
        }
        for (ratio, peer) in compared {
            objects.push(json!({
                "bench": "relay",
                "figure": facts.id,
                "subject": row.subject,
                "value": row.value,
                "unit": facts.unit,
                "ratio": ratio,
                "peer": peer,
            }));
        }
    }
    objects.extend(
        report
            .outcome
            .lookups
            .iter()
            .map(|lookup| lookup.object.clone()),
    );
    objects
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn each_peer_gives_an_object_and_what_is_missing_is_null() {
        let (outcome, machine) = (sample::outcome(), sample::machine());
        let objects = render(&sample::report(&outcome, &machine));
        let own: Vec<&Value> = objects
            .iter()
            .filter(|o| o["figure"] == "trip_cpu" && o["subject"] == "sansbox")
            .collect();
        assert_eq!(own.len(), 2);
        assert_eq!(own[0]["peer"], "sing-box");
        assert_eq!(own[0]["ratio"], 13.0 / 16.0);
        assert_eq!(own[1]["peer"], "microsocks");
        let unmeasured = objects.iter().find(|o| o["figure"] == "conn_cpu").unwrap();
        assert!(unmeasured["value"].is_null() && unmeasured["ratio"].is_null());
        for object in &objects {
            assert_eq!(object.as_object().unwrap().len(), 7);
        }
    }
}
