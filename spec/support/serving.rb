# frozen_string_literal: true

require_relative "app_process"
require_relative "http_client"
require_relative "websocket_client"
require_relative "sse_client"
require_relative "poll_client"

# Gives examples a running app and clients for it. `serve` starts an app for all examples of a group, which must exit with 0 at its
# end. `start_app` starts one for a single example. Clients are closed after each example.
module Serving
  module Macros
    # Starts the app before the group's first example; arguments as for AppProcess.start.
    def serve(source, *options, **how)
      before(:context) { @app = AppProcess.start(source, *options, transport: transport, **how) }

      after(:context) do
        status = @app&.stop
        raise "the server ended badly: #{status}\n#{@app.output}" unless status.nil? || status.success?
      end
    end
  end

  # The app that the example has started last, or its group's.
  attr_reader :app

  # Starts an app for this example alone, waits until it listens, and returns it. From then on it is `app`. It is killed
  # after the example if it still runs. Arguments as for AppProcess.new.
  def start_app(...) = launch_app(...).tap(&:wait_until_listening)

  # The same for an app that may never listen.
  def launch_app(source, *options, **how)
    @app = AppProcess.new(source, *options, transport: transport, **how)
    (@started ||= []) << @app
    @app
  end

  # :tcp, :unix or :tls. See Transport.
  def transport = self.class.metadata.fetch(:transport, Transport.default)

  # Kills the apps of this example that still run.
  def kill_apps
    @started&.each { |app| app.kill if app.running? }
    @started = nil
  end

  @names = 0

  # An unused name for a client.
  def self.next_name = "c#{@names += 1}"

  # A client for requests. It speaks what Transport.protocol says.
  def http(**options) = closing(Transport.requests.new(app.address, **options))

  # One that speaks HTTP/1, for what is about that, or sends its own bytes.
  def http1(**options) = closing(HttpClient.new(app.address, **options))

  # Sends one request on a new connection.
  def get(target, headers = {}, **options) = http.get(target, headers, **options)

  def websocket(path = "/", **options)
    id = Serving.next_name
    closing(WebSocketClient.new(app.address, "#{path}?#{id}", id: id, **options))
  end

  def sse(path = "/", **options)
    id = Serving.next_name
    closing(SseClient.new(app.address, "#{path}?#{id}", id: id, **options))
  end

  # A client of long polls that has not polled yet.
  def poller(path = "/", query: "push_wait=25", **options)
    id = "#{query}&#{Serving.next_name}"
    closing(PollClient.new(app.address, "#{path}?#{id}", id: id, **options))
  end

  # Waits for an event of this client from the app's handler.
  def event(name, client, **fields) = app.events.take(event: name.to_s, id: client.id, **fields)

  # Waits until the app's on_open has reported the client, and returns the client.
  def opened(client)
    event(:open, client)
    client
  end

  # Whether a new client can connect to the app.
  def accepting_connections?
    RawConnection.new(app.address).close
    true
  rescue *RawConnection::REFUSED
    false
  end

  # The same as an expectation.
  def expect_event(name, client, **fields) = expect(event(name, client, **fields)).to include(event: name.to_s)

  # Expects the app to print a line that matches.
  def expect_line(pattern) = expect(app.wait_for_line(pattern)).to match(pattern)

  # Runs code in the app, in which `client` is the server's side of this client.
  def ask(client, code, **deadline) = app.ask(code, id: client.id, **deadline)

  # Expects that code raises this in the app. type: the name of the exception's class. message: a pattern.
  def raise_in_app(type, message = //) = raise_error(RemoteControl::Raised, /\A(?:#{type}): .*#{message}/m)

  # The names of a client's events so far, in order.
  def story(client) = app.events.all(id: client.id).map { |event| event[:event].to_sym }

  # The same with the handler's label and the data: "first message hello".
  def labelled_story(client)
    app.events.all(id: client.id).map do |event|
      [event[:handler], event[:event], event.dig(:data, :bytes)&.undump].compact.join(" ")
    end
  end

  def close_clients
    @clients&.each { |client| client.close unless client.closed? }
    @clients = nil
  end

  private

  def closing(client)
    (@clients ||= []) << client
    client
  end
end
