# frozen_string_literal: true

# For specs of long polls: an app that subscribes them to the channels in their path, and clients for it.
module Polling
  # X-Member and X-Owner name the member and the owner of the session. With X-Hello, on_open writes "hello". All polls get the
  # response in $refusal, if there is one.
  CONFIG = <<~'CONFIG'
    require "push_server"
    require "spec_app"

    PushServer.channel "kept*", history: 100
    PushServer.channel "short*", history: 3
    PushServer.channel "room*", presence: true
    $refusal = nil
    $cookie = 0
    $gate = nil

    class Polled < SpecApp::Recorder
      def on_open(client)
        path = client.env["PATH_INFO"].delete_prefix("/")
        path.split(",").each { |channel| client.subscribe(channel, member: client.env["HTTP_X_MEMBER"]) }
        client.write("hello", event: "hello") if client.env["HTTP_X_HELLO"]
        super
      end

      def on_gap(client, channel) = note(:gap, client, channel: channel)
    end

    run(lambda do |env|
      SpecApp.report(:call, id: env["QUERY_STRING"], upgrade: env["rack.upgrade?"])
      $gate&.pop
      env["push_server.session_owner"] = eval(env["HTTP_X_OWNER"]) if env["HTTP_X_OWNER"]
      next $refusal if $refusal

      env["rack.upgrade"] = Polled.new if env["rack.upgrade?"]
      [200, { "set-cookie" => "poll=#{$cookie += 1}" }, []]
    end)
  CONFIG

  # A client whose session is open, and which has read its push.open.
  def polling(channels, **options)
    client = poller("/#{channels}", **options)
    expect(client.poll.events.map(&:event)).to start_with("push.open")
    opened(client)
  end

  # Sends a poll, and waits until the app has accepted it. With one worker, the app has done so when it next does anything.
  def start_poll(client, **how)
    polls = calls(client).size
    client.ask(**how)
    eventually("the app to be called") { calls(client).size > polls }
    app.ask("nil")
    client
  end

  # The app's calls for polls of this client.
  def calls(client) = app.events.all(event: "call").select { |call| call[:id].end_with?(client.id[/c\d+\z/]) }

  # The callbacks for this client, in order.
  def callbacks(client) = story(client) - %i[call drained]

  # The positions in the log that these IDs name.
  def numbers(ids) = ids.map { |id| Integer(id[/\A\h+-(\d+)/, 1]) }

  # From now on the app answers with this response, or accepts again with nil.
  def refuse(response) = app.ask("$refusal = #{response.inspect}; nil")
end
