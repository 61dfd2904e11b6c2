# frozen_string_literal: true

require "spec_helper"

# Certificates that change while several workers have streams open, in each of the ways in which tools replace them.
RSpec.describe "Certificates that change again and again" do
  include Clusters

  config = <<~'CONFIG'
    require "spec_app"

    echo = SpecApp::Recorder.new(open: ->(client) { client.write(Process.pid.to_s) }, message: ->(client, data) { client.write(data) })

    run(lambda do |env|
      env["rack.upgrade"] = echo if env["rack.upgrade?"]
      [200, {}, [Process.pid.to_s]]
    end)
  CONFIG

  certificates = Array.new(2) { |number| CertificateAuthority.default.issue("swapped #{number}", names: %w[DNS:localhost]) }

  # How a tool replaces a certificate and its key, in this folder.
  ways = {
    "by a rename of one after the other" => lambda do |folder, issued|
      %i[cert key].each do |kind|
        FileUtils.cp(issued[kind], "#{folder}/new")
        File.rename("#{folder}/new", "#{folder}/#{kind}.pem")
        sleep 0.02 # there is a moment in which they do not belong together
      end
    end,
    "by writing into the files" => lambda do |folder, issued|
      %i[key cert].each do |kind|
        File.open("#{folder}/#{kind}.pem", "w") do |file|
          file.write(File.read(issued[kind])[0, 40])
          file.flush
          sleep 0.02 # there is a moment in which a file is not whole
          file.write(File.read(issued[kind])[40..])
        end
      end
    end,
    "by a link for each file, as certbot does" => lambda do |folder, issued|
      %i[cert key].each do |kind|
        File.symlink(issued[kind], "#{folder}/new")
        File.rename("#{folder}/new", "#{folder}/#{kind}.pem")
      end
    end,
    "by a link for their folder, as Kubernetes does" => lambda do |folder, issued|
      data = Dir.mktmpdir("data", folder)
      %i[cert key].each { |kind| FileUtils.cp(issued[kind], "#{data}/#{kind}.pem") }
      %i[cert key].each { |kind| File.symlink("..data/#{kind}.pem", "#{folder}/#{kind}.pem") unless File.symlink?("#{folder}/#{kind}.pem") }
      File.symlink(File.basename(data), "#{folder}/new")
      File.rename("#{folder}/new", "#{folder}/..data")
    end
  }

  let(:folder) { Dir.mktmpdir }
  let(:bind) { ["-b", "ssl://127.0.0.1:0?cert=#{folder}/cert.pem&key=#{folder}/key.pem"] }

  after { FileUtils.rm_rf(folder) }

  # As the first way, with a long moment in which they do not belong together.
  slow = lambda do |folder, issued|
    %i[cert key].each do |kind|
      FileUtils.cp(issued[kind], "#{folder}/new")
      File.rename("#{folder}/new", "#{folder}/#{kind}.pem")
      sleep 0.25 if kind == :cert # for that long
    end
  end

  # Starts to replace the files twice a second, until the block is left. Yields to it.
  def while_swapping(way, certificates)
    swapping = true
    swaps = Thread.new do
      (1..).each do |round|
        break unless swapping

        way.call(folder, certificates[round % 2])
        sleep 0.5 # as often as that, the files change
      end
    end
    yield
  ensure
    swapping = false
    swaps&.value
  end

  # The name in the certificate of a new connection.
  def served
    client = RawConnection.new(app.address)
    client.tls.peer_cert.subject.to_a.assoc("CN")[1]
  ensure
    client&.close
  end

  # Waits until all workers serve this certificate.
  def expect_served(issued)
    name = issued.certificate.subject.to_a.assoc("CN")[1]
    expect_eventually("the certificate #{name}") { Array.new(12) { served }.uniq == [name] }
  end

  # WebSockets on all workers, with the pids of their workers.
  def sockets(count)
    Array.new(count) do
      socket = closing(WebSocketClient.new(app.address))
      [socket, socket.read_message.to_i]
    end
  end

  def expect_alive(sockets)
    sockets.each { |socket, _| socket.text("still there") }
    expect(sockets.map { |socket, _| socket.read_message }.tally).to eq("still there" => sockets.size)
  end

  ways.each do |how, way|
    it "are served #{how}, and no stream is lost" do
      way.call(folder, certificates[0])
      start_cluster(config, *bind, workers: 3, via: :configured)
      open = sockets(60)
      expect(open.map(&:last).uniq.size).to eq(3)
      while_swapping(way, certificates) do
        4.times do |round|
          app.signal("HUP") if round.odd?
          expect_alive(open)
          expect(served).to start_with("swapped")
          sleep 0.3 # the files change meanwhile
        end
      end
      way.call(folder, certificates[1])
      expect_served(certificates[1])
      expect_alive(open)
      # HUP reads the files at once, and may find them in a moment in which they do not belong together.
      expect(app.lines.grep(/error:/)).to all(include("goes on with the certificates that it has"))
    end
  end

  it "are refused with one line if they are bad, and a worker that is started then has the newest good ones" do
    way = ways.values.first
    way.call(folder, certificates[0])
    start_cluster(config, *bind, workers: 3, via: :configured)
    open = sockets(30)
    way.call(folder, certificates[1])
    expect_served(certificates[1])
    File.write("#{folder}/key.pem", "bad")
    app.wait_for_line(/goes on with the certificates that it has: .*key\.pem has no private key/)
    killed = workers.values.first
    Process.kill("KILL", killed)
    expect_eventually("another worker") { workers.size == 3 && !workers.value?(killed) && answering.size == 3 }
    expect_served(certificates[1])
    expect_alive(open.reject { |_, pid| pid == killed })
    expect(app.lines.grep(/goes on with the certificates/).size).to eq(1)
    way.call(folder, certificates[0])
    expect_served(certificates[0])
  end

  { "USR1" => "a phased restart", "USR2" => "a restart of all processes" }.each do |signal, name|
    it "do not disturb #{name}, also if it begins while they do not belong together" do
      slow.call(folder, certificates[0])
      start_cluster(config, *bind, via: :configured)
      while_swapping(slow, certificates) do
        before = workers.values
        app.signal(signal)
        expect_new_workers([1, 2], before: before, seconds: 60)
      end
      slow.call(folder, certificates[1])
      expect_served(certificates[1])
      expect(app.lines.grep(/not restarted|error:/)).to eq([])
    end
  end
end
