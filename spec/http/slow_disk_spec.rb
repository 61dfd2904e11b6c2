# frozen_string_literal: true

require "spec_helper"
require "digest"

# Request bodies that are too long for memory are kept in files in TMPDIR, whose disk may hang or be full. See also
# tests/reactor/slow_disk.rs.
RSpec.describe "A slow disk" do
  config = <<~'CONFIG'
    require "spec_app"
    require "digest"

    ticking = SpecApp::Recorder.new
    run(lambda do |env|
      env["rack.upgrade"] = ticking if env["rack.upgrade?"]
      [200, {}, [env["REQUEST_METHOD"] == "POST" ? Digest::SHA256.hexdigest(env["rack.input"].read) : "answered"]]
    end)
  CONFIG

  def stats = app.ask("PushServer.stats")

  def start(disk, *options)
    skip "no file system can be mounted here" unless disk
    start_app(config, *options, env: { "TMPDIR" => disk.path })
  end

  define_method(:config) { config }

  after do
    @disk&.thaw
    status = @app&.stop
    @disk&.remove
    expect(status).to be_nil.or be_success
  end

  content = Random.new(1).bytes(3_000_000)

  def send_upload(content)
    client = http
    client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: #{content.bytesize}\r\n\r\n")
    before = stats[:bytes_in]
    sender = Thread.new { client.write(content) }
    eventually("a part to be read") { stats[:bytes_in] > before + 120_000 }
    [client, sender]
  end

  it "that hangs delays only requests that need it" do
    start @disk = SmallDisk.freezable(20_000_000), *%w[-t 1 --body-timeout 0.5 --sse-heartbeat 0.1 --public .]
    stream = sse("/events")
    stream.read_comment
    expect(get("/").body).to eq("answered")
    expect(@disk.freeze_writes).to be(true)
    client, sender = send_upload(content)
    # Longer than body_timeout.
    15.times do
      stream.read_comment
      expect(get("/").body).to eq("answered")
    end
    expect(client.connection.anything?).to be(false)
    @disk.thaw
    sender.join
    expect(client.read_response).to have_attributes(status: 200, body: Digest::SHA256.hexdigest(content))
    eventually("the file to be closed") { stats[:spooled_bytes].zero? }
  end

  it "that hangs does not keep the server from stopping" do
    start @disk = SmallDisk.freezable(20_000_000), *%w[-t 1 --drain-timeout 0.2]
    @disk.freeze_writes
    client, sender = send_upload(content)
    app.signal("TERM")
    expect(client.connection.ending).to eq(:fin).or eq(:reset)
    sender.report_on_exception = false
    app.wait_for_line(/[Ss]topped|Goodbye|Bye/)
  end

  it "that is full makes uploads fail with 503, logged once a minute, until there is room again" do
    start @disk = SmallDisk.make(2_000_000), *%w[-t 1 --max-spooled-total 100MiB]
    3.times do
      client = http
      client.send_request("POST", "/", { "content-length" => content.bytesize })
      client.connection.offer(content)
      expect(client.read_response).to have_attributes(status: 503)
    end
    expect(app.lines.grep(/cannot be written to a temporary file in #{Regexp.escape(@disk.path)}.*No space left/).size).to eq(1)
    expect(stats).to include(spool_errors: 3)
    short = content[0, 1_000_000]
    eventually("the files to be closed") { stats[:spooled_bytes].zero? }
    expect(http.request("POST", "/", body: short)).to have_attributes(status: 200, body: Digest::SHA256.hexdigest(short))
  end

  it "is used by request bodies up to a quarter of its free space by default" do
    start @disk = SmallDisk.make(2_000_000), *%w[-t 1]
    expect(http.request("POST", "/", body: content[0, 400_000]).status).to eq(200)
    client = http
    client.send_request("POST", "/", { "content-length" => "600000" })
    expect(client.read_response).to have_attributes(status: 503)
    expect(app.wait_for_line(/max_spooled_total/)).to include("503", @disk.path)
  end
end
