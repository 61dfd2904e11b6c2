# frozen_string_literal: true

require_relative "unit_helper"
require "push_server/config/command_line"

RSpec.describe PushServer::CommandLine do
  def given(*words) = described_class.new(words).given

  def complaint(*words)
    described_class.new(words)
    "none"
  rescue PushServer::OptionError => e
    e.message
  end

  it "takes a value after a space or an equals sign, or right after a short switch" do
    expect(given("--port", "1")).to eq(port: "1")
    expect(given("--port=1")).to eq(port: "1")
    expect(given("-p", "1")).to eq(port: "1")
    expect(given("-p1")).to eq(port: "1")
    expect(given("--sse-event=", "--log-level", "")).to eq(sse_event: "", log_level: "")
    expect(given("--sse-event", "--port=1")).to eq(sse_event: "--port=1")
  end

  it "collects the values of options that may be repeated, and takes the last value of others" do
    expect(given("-b", "tcp://a", "--bind=tcp://b", "-t1", "-t2")).to eq(bind: %w[tcp://a tcp://b], threads: "2")
  end

  it "takes several flags at once, the last one with its value" do
    expect(given("-qp1")).to eq(log_level: "warn", port: "1")
    expect(given("-q", "-v")).to eq(log_level: "debug")
  end

  it "takes switches without a value, and their opposites" do
    expect(given("--preload")).to eq(preload: true)
    expect(given("--preload", "--no-preload")).to eq(preload: false)
    expect(complaint("--no-preload=1")).to eq("--no-preload takes no value")
    expect(complaint("--no-port")).to start_with("there is no option --no-port: ")
  end

  it "takes words that are not options as files, and everything after --" do
    line = described_class.new(["a.ru", "-p", "1", "-", "--", "-w", "--port"])
    expect([line.files, line.given]).to eq([["a.ru", "-", "-w", "--port"], { port: "1" }])
  end

  it "takes any bytes as a path, and names an unknown switch with any bytes" do
    expect(described_class.new(["\xff.ru", "--public=\xff"])).to have_attributes(files: ["\xff.ru".b], given: { public_dir: "\xff".b })
    ["-\xff", "--\xff", "--threads\xff=1", "-x\xff=1"].each { |word| expect(complaint(word)).to start_with("there is no option -") }
  end

  it "knows whether the user wants help or the version" do
    expect(described_class.new(%w[--version]).question).to eq(:version)
    expect(described_class.new(%w[-p 1 -h]).question).to eq(:help)
  end

  {
    "the beginning of a name" => {
      %w[--drain 1] => "did you mean --drain-timeout?", %w[--drain-t=1] => "did you mean --drain-timeout?",
      %w[--sse x] => "did you mean --sse-event or --sse-heartbeat?", %w[--access-log-f x] => "did you mean --access-log-file?",
      %w[--verb] => "did you mean --verbose?", %w[--m 1] => "push_server --help lists them all"
    },
    "another spelling" => {
      %w[--max_queue 1] => "did you mean --max-queue?", %w[--Port=1] => "did you mean --port?",
      %w[-port 1] => "did you mean --port?", %w[-threads=1] => "did you mean --threads?",
      %w[--prot 1] => "did you mean --port?", %w[-verbose] => "did you mean --verbose?"
    },
    "what is near to nothing" => {
      %w[-z] => "push_server --help lists them all", %w[--utter-nonsense] => "push_server --help lists them all"
    },
    # OptionParser took each of these for an option of this server whose name begins so.
    "a switch of another server" => {
      %w[-s 2] => "--workers", %w[-workers 2] => "--workers", %w[-d] => "stays in the foreground", %w[-D] => "stays in the foreground",
      %w[-c puma.rb] => "--config", %w[-o 0.0.0.0] => "--bind", %w[-a 0.0.0.0] => "--bind",
      %w[-l log] => "--bind", %w[-S state] => "--bind", %w[-r json] => "RUBYOPT", %w[-P x.pid] => "--pidfile",
      %w[-pid x] => "--pidfile", %w[-V] => "--version", %w[-E test] => "-e", %w[-R x.ru] => "config.ru",
      %w[-www public] => "--public", %w[-ping 40] => "--ping-interval", %w[-tls] => "ssl://", %w[-k 5] => "--keep-alive-timeout",
      %w[-maxms 250] => "--max-message-size", %w[-log] => "--access-log", %w[-bind x] => "did you mean --bind?"
    }
  }.each do |kind, cases|
    cases.each do |words, cure|
      it "refuses #{kind}: #{words.join(" ")}" do
        expect(complaint(*words)).to match(/\Athere is no option --?[^\s=:\d]+: .*#{Regexp.escape(cure)}/)
      end
    end
  end

  it "refuses a flag with a value, and an option without one" do
    expect(complaint("--verbose=2")).to eq("--verbose takes no value")
    expect(complaint("-t")).to eq("-t needs a value: push_server --help says which")
  end

  it "has no hint for one of its own switches" do
    ours = PushServer::Options::TABLE.values.flat_map(&:switches) + %w[-v --verbose -q --quiet --version -h --help]
    expect(PushServer::ForeignSwitches.names & ours).to be_empty
  end

  it "names only existing switches in its hints about switches of other servers" do
    named = PushServer::ForeignSwitches.names.flat_map { |name| PushServer::ForeignSwitches[name].scan(/(?<!\w)--[a-z-]+/) }
    expect(named.uniq - PushServer::Options::TABLE.values.flat_map(&:switches) - %w[--version --quiet]).to be_empty
  end
end
