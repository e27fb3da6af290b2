//! The example with jobs: what a client is told of them.

use hatchery_tests::client::{Answer, Client};
use hatchery_tests::program::example;
use hatchery_tests::{Lab, Program, Start};

fn ready() -> Lab {
    Start::default().program(Program::Link(example("thumbnails"))).ready()
}

fn post(lab: &Lab, picture: &[u8]) -> Answer {
    let mut client = Client::connect(lab.address()).expect("a server");
    let head = format!("POST /thumbnail HTTP/1.1\r\nhost: lab\r\ncontent-length: {}\r\n\r\n", picture.len());
    client.send([head.as_bytes(), picture].concat()).expect("sent");
    client.answer().expect("an answer")
}

fn picture(width: usize, height: usize) -> Vec<u8> {
    let mut picture = format!("P6\n{width} {height}\n255\n").into_bytes();
    picture.extend([10, 20, 30].repeat(width * height));
    picture
}

#[test]
fn a_picture_becomes_small() {
    let lab = ready();
    for (width, height, small) in [(1280, 640, "128 64"), (64, 32, "64 32"), (1, 500, "1 128")] {
        let answer = post(&lab, &picture(width, height));
        let head = format!("P6 {small} 255\n");
        assert!(answer.status == 200 && answer.body.starts_with(head.as_bytes()), "{}", answer.text());
        assert!(answer.body[head.len()..].chunks(3).all(|pixel| pixel == [10, 20, 30]));
    }
    lab.stop();
}

#[test]
fn what_goes_wrong_is_said_and_costs_nobody_else_anything() {
    let lab = ready();
    let workers = lab.ready();
    let trouble = |kind: &str| {
        let answer = lab.get(&format!("/trouble/{kind}")).expect("an answer");
        (answer.status, answer.text())
    };
    assert_eq!(trouble("crash"), (500, "the job crashed: signal 6\n".to_owned()));
    assert_eq!(trouble("leak"), (500, "the job ran out of memory\n".to_owned()));
    assert_eq!(trouble("hang"), (500, "the job took longer than 2000 ms\n".to_owned()));
    let said = |picture: &[u8]| {
        let answer = post(&lab, picture);
        (answer.status, answer.text())
    };
    let (status, text) = said(b"GIF89a, surely\nnot that ");
    assert!(status == 422 && text.contains("expected a picture in PPM"), "{text}");
    let (status, text) = said(b"P6 100000 100000 255\n...");
    assert!(status == 500 && text.contains("out of memory"), "{text}");
    let (status, text) = said(b"P6 10 10 255\n...");
    assert!(status == 500 && text.contains("panicked"), "{text}");
    assert_eq!(post(&lab, &picture(2, 2)).status, 200);
    assert_eq!(lab.ready(), workers);
    lab.stop();
}
