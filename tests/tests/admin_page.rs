//! The status page and the metrics, as a browser and Prometheus' parser read them.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use hatchery_tests::{Lab, Start, admin, browser, client};

fn start() -> Start {
    Start::lab().set("admin", "127.0.0.1:0")
}

fn get(lab: &Lab, path: &str) -> String {
    let answer = client::get(&admin::address(lab), path).unwrap_or_else(|failure| panic!("{path}: {failure}"));
    assert_eq!(answer.status, 200, "{path}");
    String::from_utf8(answer.body).expect("text")
}

#[test]
fn the_page_shows_real_workers_in_a_real_browser() {
    let lab = start().ready();
    for _ in 0..7 {
        lab.get("/").expect("an answer");
    }
    let page = browser::document(&lab.path("profile"), &format!("http://{}/", admin::address(&lab)), &[]);
    for worker in lab.ready() {
        assert!(page.contains(&format!("<td>{worker}</td>")), "no worker {worker} in\n{page}");
    }
    assert!(page.contains("<b>7</b><span>requests</span>"), "{page}");
    assert!(page.contains(&format!("master {}", lab.serving())) && page.contains(">serving<"), "{page}");
    assert!(page.contains(lab.address()), "{page}");
    lab.stop();
}

/// Everything that could end a label, a line, a tag or a script.
const NASTY: &str = "a\"b\\c\nd<b>e</b>&lt;'`${x}<script>document.title='taken'</script>#{é";

/// The addresses in the metrics, as Prometheus' own parser reads them.
fn addresses(metrics: &str) -> Vec<String> {
    const PROGRAM: &str = "import json, sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        print(json.dumps([s.labels['address'] for f in parse(sys.stdin.read()) for s in f.samples if s.name == 'hatchery_accept_queue_limit']))";
    let mut python = Command::new("python3");
    python.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = python.spawn().expect("python3 is installed");
    python.stdin.take().expect("a pipe").write_all(metrics.as_bytes()).expect("it reads");
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success(), "apt-get install python3-prometheus-client; of\n{metrics}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_stands_in_an_address_is_never_syntax() {
    let start = start().without("bind");
    // A path has no slash but those of its folders.
    let folder = start.path(NASTY.split_once('/').expect("a slash").0);
    fs::create_dir_all(start.path(NASTY).parent().expect("a folder")).expect("folders");
    assert!(folder.exists());
    let address = format!("unix:{}", start.path(NASTY).display());
    assert!(address.len() < 108, "the kernel takes no longer one");
    let lab = start.config(&format!("bind = {}\n", serde_json::json!(["127.0.0.1:0", address]))).ready();
    assert_eq!(client::get(&address, "/").expect("an answer").status, 200);

    let metrics = get(&lab, "/metrics");
    admin::assert_parses(&metrics);
    assert_eq!(addresses(&metrics), [lab.address(), &address]);

    let page = browser::document(&lab.path("profile"), &format!("http://{}/", admin::address(&lab)), &[]);
    let shown = address.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert!(page.contains(&format!("<td class=\"wrap\">{shown}</td>")), "{shown} is not in\n{page}");
    assert!(page.contains("<title>hatchery</title>") && !page.contains("<b>e</b>"), "{page}");
    lab.stop();
}

/// Looks at every text of the page: how it stands out from what is behind it, by WCAG's measure.
const CONTRAST: &str = r#"<script>
setTimeout(() => {
  const parts = color => color.match(/[\d.]+/g).map(Number);
  const light = color => parts(color).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let it = element; it; it = it.parentElement) {
      const ground = getComputedStyle(it).backgroundColor, alpha = parts(ground)[3];
      if (alpha === undefined || alpha > 0) return ground;
    }
    return "rgb(255, 255, 255)";
  };
  const lines = [];
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    lines.push(contrast.toFixed(2) + " " + element.tagName + " " + element.className + " " + element.textContent.trim().slice(0, 30));
  }
  const all = document.createElement("pre");
  all.id = "contrast";
  all.textContent = ["dark " + matchMedia("(prefers-color-scheme: dark)").matches,
    "ground " + light(getComputedStyle(document.body).backgroundColor).toFixed(2), ...lines].join("\n");
  document.body.append(all);
}, 1500);
</script>"#;

/// The page as it is served, with a state that has all of its colours, read from a file: nothing but its own policy forbids
/// a script that looks at it.
#[test]
fn the_page_can_be_read_in_the_light_and_in_the_dark() {
    let lab = start().ready();
    lab.get("/").expect("an answer");
    let mut snapshot: serde_json::Value = serde_json::from_str(&get(&lab, "/status.json")).expect("JSON");
    snapshot["status"]["operation"] = "reload".into();
    let workers = snapshot["status"]["workers"].as_array_mut().expect("workers");
    for state in ["starting", "blocked", "draining", "killed"] {
        let mut worker = workers[0].clone();
        worker["state"] = state.into();
        workers.push(worker);
    }
    let stub = format!("<script>window.fetch = async () => ({{ ok: true, json: async () => ({snapshot}) }});</script>");
    let page = get(&lab, "/").replacen("<body>", &format!("<body>{stub}"), 1);
    let file = lab.path("page.html");
    fs::write(&file, page.replacen("</body>", &format!("{CONTRAST}</body>"), 1)).expect("a file");
    for (scheme, dark) in
        [("--blink-settings=preferredColorScheme=0", true), ("--blink-settings=preferredColorScheme=1", false)]
    {
        let shown = browser::document(&lab.path("profile"), &format!("file://{}", file.display()), &[scheme]);
        let told = shown.split_once("<pre id=\"contrast\">").expect("it was looked at").1;
        let mut lines = told.split("</pre>").next().unwrap_or_default().lines();
        assert_eq!(lines.next(), Some(format!("dark {dark}").as_str()));
        let ground: f64 = lines.next().and_then(|line| line.strip_prefix("ground ")?.parse().ok()).expect("a number");
        assert!(if dark { ground < 0.1 } else { ground > 0.8 }, "{ground}");
        let texts: Vec<&str> = lines.collect();
        assert!(texts.len() > 60, "{texts:?}");
        for text in texts {
            let contrast: f64 = text.split(' ').next().and_then(|it| it.parse().ok()).expect("a number");
            assert!(contrast >= 4.5, "dark {dark}: {text}");
        }
    }
    lab.stop();
}
