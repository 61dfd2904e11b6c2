# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/container_files"

# The files in docs/deployment. Other specs run them: spec/cluster/container_spec.rb, spec/full/proxies_spec.rb.
RSpec.describe "The files for a deployment" do
  folder = ContainerFiles::FOLDER
  default = ->(name) { PushServer::Options::TABLE.fetch(name).default }

  define_method(:read) { |name| File.read(File.join(folder, name)) }

  it "are the ones that the pages show" do
    pages = %w[deployment proxies].map { |name| File.read(File.join(folder, "../#{name}.md")) }.join
    (Dir.children(folder) - %w[dockerignore]).each { |name| expect(pages).to include(read(name)), "no page shows #{name}" }
  end

  it "are part of the gem" do
    files = Gem::Specification.load(File.join(folder, "../../push_server.gemspec")).files
    expect(files).to include(*Dir.children(folder).map { |name| "docs/deployment/#{name}" })
  end

  describe "Dockerfile" do
    it "ends with a stage that has no Rust and no compiler" do
      image = ContainerFiles.image
      expect(ContainerFiles.stages.size).to be > image.size
      expect(image.flat_map(&:instructions).map(&:text).join).not_to match(/rust|cargo|libclang|build-essential/)
      expect(image.first.from).to match(/\Aruby:\S+-slim-/)
    end

    it "copies only from stages that there are, and has no version of Rust that is too old" do
      names = ContainerFiles.stages.map(&:name)
      sources = ContainerFiles.stages.flat_map { |stage| stage.all("COPY") }.filter_map { |copy| copy.text[/--from=(\S+)/, 1] }
      expect(names).to include(*sources)
      wanted = File.read(File.join(folder, "../../Cargo.toml"))[/^rust-version = "(.*)"/, 1]
      expect(ContainerFiles.stages.first.from).to start_with("rust:#{wanted}-")
    end

    it "starts the server as another user than root, and by itself, so that it is process 1" do
      expect(ContainerFiles.last("USER").text).to eq("1000:1000")
      expect(ContainerFiles.last("CMD").exec).to eq(%w[bundle exec push_server])
      expect(ContainerFiles.last("STOPSIGNAL").text).to eq("SIGTERM")
      expect(ContainerFiles.last("HEALTHCHECK").exec).to eq(%w[bundle exec push_server status])
    end
  end

  it "give the server longer to stop than it drains" do
    drain = default.call(:drain_timeout)
    expect(ContainerFiles.stop_grace_period).to be > drain
    expect(ContainerFiles.yaml("deploy.yml").fetch("stop_timeout")).to be > drain
  end

  it "have timeouts for silence that are longer than heartbeats, pings and polls, and keep idle connections shorter than the server" do
    loud = [default.call(:sse_heartbeat), default.call(:ping_interval), 25].max # push.js polls for 25 s
    seconds = { "s" => 1, "m" => 60, "h" => 3600 }
    silence = read("haproxy.cfg").scan(/^ *timeout (?:client|server|tunnel) (\d+)(\w)$/)
    expect(silence.size).to eq(3)
    expect(silence.map { |number, unit| number.to_i * seconds.fetch(unit) }).to all(be > loud)
    expect(ContainerFiles.yaml("deploy.yml").dig("proxy", "response_timeout")).to be > loud
    expect(read("nginx.conf")).not_to match(/proxy_(read|send)_timeout|keepalive_timeout/) # The defaults are 60 s.
    expect([60, read("Caddyfile")[/keepalive (\d+)s/, 1].to_i]).to all(be < default.call(:keep_alive_timeout))
    expect(read("haproxy_tcp.cfg").scan(/^ *timeout (?:client|server) (\d+)s$/).flatten.map(&:to_i))
      .to all(be > default.call(:keep_alive_timeout))
  end
end
