# frozen_string_literal: true

# An app of which each version answers with its name, for specs of restarts and of the commands.
module VersionedApp
  # The source of the app. A request for /wait is held until the spec sends `$go << 1` to the app's only process, or makes the
  # file `go`, for workers.
  def app_of(version)
    <<~RUBY
      require "spec_app"
      $go = Thread::Queue.new
      # One process is told by the spec; workers look for a file.
      def in_the_app
        sleep(0.01) until File.exist?("go") || !$go.empty?
      end
      run(lambda do |env|
        if env["rack.upgrade?"]
          env["rack.upgrade"] = SpecApp::Recorder.new
          next [200, {}, []]
        end
        if env["PATH_INFO"] == "/wait"
          SpecApp.report(:waiting)
          in_the_app
        end
        [200, { "content-type" => "text/plain" }, [#{version.inspect}]]
      end)
    RUBY
  end

  # Puts another version into the place of the app.
  def change(version, source = app_of(version)) = File.write(File.join(app.dir, "config.ru"), source)

  # The version that answers to a request on a connection of its own.
  def answer
    client = HttpClient.new(app.address)
    client.get("/", { "connection" => "close" }).body
  ensure
    client&.close
  end

  # A client whose request is held by the app.
  def waiting_client
    http.send_request("GET", "/wait").tap { app.events.take(event: "waiting") }
  end

  # Restarts the server, and waits until the new version answers.
  def restart(version, signal: "USR2")
    change(version)
    app.signal(signal)
    expect_version(version)
  end

  def expect_version(version)
    expect_eventually("version #{version} to answer", seconds: 60) { answer == version }
  end
end
