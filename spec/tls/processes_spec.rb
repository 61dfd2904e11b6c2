# frozen_string_literal: true

require "spec_helper"

# TLS with several processes, and over restarts: sessions, and certificates that change.
RSpec.describe "TLS in all processes" do
  include Clusters

  localhost = CertificateAuthority.localhost
  other = CertificateAuthority.default.issue("other", names: %w[DNS:localhost])
  pids = <<~'CONFIG'
    require "spec_app"

    run(lambda do |env|
      env["rack.upgrade"] = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) }) if env["rack.upgrade?"]
      [200, {}, [Process.pid.to_s]]
    end)
  CONFIG

  let(:folder) { Dir.mktmpdir }
  let(:bind) { ["-b", "ssl://127.0.0.1:0?cert=#{folder}/cert.pem&key=#{folder}/key.pem"] }

  before { use(localhost) }
  after { FileUtils.rm_rf(folder) }

  # Puts a certificate and its key in place, as a rename does: one after the other.
  def use(issued)
    %i[cert key].each do |kind|
      FileUtils.cp(issued[kind], File.join(folder, "new.pem"))
      File.rename(File.join(folder, "new.pem"), File.join(folder, "#{kind}.pem"))
    end
  end

  # A client that resumes the session before, if there is one.
  def come_back(sessions)
    client = closing(HttpClient.new(app.address.with(sessions: sessions, session: sessions.last)))
    pid = client.get("/").body
    client.close
    [pid, client.connection.tls.session_reused?]
  end

  # How many of so many clients have resumed their session, and the processes that have answered.
  def reconnect(sessions, times)
    answers = Array.new(times) { come_back(sessions) }
    [answers.count { |_, resumed| resumed }, answers.map(&:first).uniq]
  end

  def served = closing(RawConnection.new(app.address)).tls.peer_cert.subject.to_a.assoc("CN")[1]

  def expect_served(issued)
    name = issued.certificate.subject.to_a.assoc("CN")[1]
    expect_eventually("the certificate #{name}") { Array.new(6) { served }.uniq == [name] }
  end

  context "with several workers" do
    { "a phased restart" => "USR1", "a restart of all processes" => "USR2" }.each do |name, signal|
      it "resumes sessions in any worker, and after #{name}" do
        start_cluster(pids, *bind, workers: 4, via: :configured)
        sessions = []
        come_back(sessions)
        expect(reconnect(sessions, 100)).to match([100, have_attributes(size: 3..4)])
        before = workers.values
        app.signal(signal)
        expect_new_workers([1, 2, 3, 4], before: before, seconds: 60)
        resumed, answered = reconnect(sessions, 100)
        expect(resumed).to eq(100)
        expect(answered.map(&:to_i) & before).to eq([])
      end
    end

    it "resumes sessions after the hub and all workers were killed" do
      start_cluster(pids, *bind, via: :configured)
      sessions = []
      come_back(sessions)
      before = workers.values
      kill_hub
      before.each { |pid| Process.kill("KILL", pid) }
      expect_new_workers([1, 2], before: before, seconds: 60)
      expect(reconnect(sessions, 10).first).to eq(10)
    end

    it "serves new certificates in all workers, and in those that start later" do
      start_cluster(pids, *bind, via: :configured)
      expect_served(localhost)
      use(other)
      expect_served(other)
      expect(app.lines.grep(/new certificates for https/).size).to eq(1)
      before = workers.values
      Process.kill("KILL", before.first)
      expect_eventually("another worker") { workers.size == 2 && !workers.value?(before.first) && answering.size == 2 }
      expect_served(other)
    end

    it "goes on with what it has when a certificate cannot be used, also in workers that start later, and says so once" do
      start_cluster(pids, *bind, via: :configured)
      File.write(File.join(folder, "cert.pem"), "broken")
      app.wait_for_line(/error: .*goes on with the certificates that it has: .*cert\.pem has no certificate/)
      before = workers.values
      Process.kill("KILL", before.first)
      expect_eventually("another worker") { workers.size == 2 && !workers.value?(before.first) && answering.size == 2 }
      expect_served(localhost)
      app.signal("USR2")
      app.wait_for_line(/not restarted: cannot listen on ssl.*cert\.pem has no certificate/)
      expect(app.lines.grep(/goes on with the certificates/).size).to eq(1)
      use(other)
      expect_served(other)
    end
  end

  context "with one process" do
    it "resumes sessions after a restart" do
      start_app(pids, *bind, via: :configured)
      sessions = []
      come_back(sessions)
      expect(reconnect(sessions, 5).first).to eq(5)
      app.signal("USR2")
      app.wait_for_line(/Executing the new version/)
      expect_eventually("the server to listen again") { accepting_connections? && app.lines.grep(/Listening on/).size == 2 }
      expect(reconnect(sessions, 5).first).to eq(5)
    end

    it "reads certificates on HUP, and says at once if they cannot be used" do
      start_app(pids, *bind, via: :configured)
      use(other)
      app.signal("HUP")
      expect_served(other)
      File.unlink(File.join(folder, "key.pem"))
      app.signal("HUP")
      app.wait_for_line(/goes on with the certificates that it has: cannot read .*key\.pem: No such file/)
      expect_served(other)
    end

    it "keeps all WebSockets while certificates change twice a second" do
      start_app(pids, *bind, via: :configured)
      sockets = Array.new(200) { closing(WebSocketClient.new(app.address)) }
      6.times do |round|
        use(round.even? ? other : localhost)
        sockets.each { |socket| socket.text("round #{round}") }
        expect(sockets.map(&:read_message).uniq).to eq(["round #{round}"])
        expect(["other", "localhost"]).to include(served)
        sleep 0.5 # as often as that, the files change
      end
      use(localhost)
      expect_served(localhost)
    end
  end

  it "does not start with a certificate that cannot be used, and says why in one line" do
    File.write(File.join(folder, "key.pem"), "broken")
    [[], ["-w", "2"]].each do |more|
      launch_app(pids, *bind, *more, via: :configured)
      expect(app.wait.exitstatus).to eq(1)
      expect(app.lines.size).to eq(1)
      expect(app.lines.first).to match(/cannot listen on ssl:.*key\.pem has no private key/)
    end
  end

  it "is what --tls-self-signed serves where nothing else is asked for" do
    start_app(pids, "--tls-self-signed", "-p", "0", via: :configured, env: { "XDG_CACHE_HOME" => folder })
    expect_line(/self-signed certificate .* is for localhost/)
    expect(closing(HttpClient.new(app.address.with(verify: false))).get("/").status).to eq(200)
  end
end
