# frozen_string_literal: true

require "spec_helper"

# A browser's EventSource reconnects by itself, and sends the last ID that it got.
RSpec.describe "A browser's EventSource" do
  include ChannelClients

  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve <<~'CONFIG', "--threads", "2", "--retry-min", "100", "--retry-max", "200"
    require "spec_app"

    PushServer.channel "kept*", history: 100
    PushServer.channel "short*", history: 3

    class Subscriber < SpecApp::Recorder
      def on_open(client)
        client.subscribe(client.env["PATH_INFO"].delete_prefix("/"))
        SpecApp.remember(client)
        note(:open, client, since: client.last_event_id)
      end

      def on_gap(client, channel) = note(:gap, client, channel: channel)
    end

    # A page that was rendered with an ID connects with that.
    PAGE = <<~HTML
      <script>
        const heard = []
        function connect() {
          const source = new EventSource(location.pathname + "?" + "%s")
          for (const type of ["push.open", "push.gap", "msg"])
            source.addEventListener(type, ({ data, lastEventId }) => heard.push({ type, data, id: lastEventId }))
        }
      </script>
    HTML

    run(lambda do |env|
      name, stale = env["QUERY_STRING"].split("&")
      query = stale ? "last_event_id=#{PushServer.cursor}&#{name}" : name
      env["rack.upgrade"] = Subscriber.new if env["rack.upgrade?"]
      [200, { "content-type" => "text/html" }, [format(PAGE, query)]]
    end)
  CONFIG

  before { @tunnel = Tunnel.new(app.port) }

  after do
    @script&.stop
    @tunnel.close
  end

  # Opens the page of a channel in the browser.
  def open_page(channel, stale: false)
    @name = Serving.next_name
    @script = Script.new("replay.js", "#{@tunnel.url}/#{channel}?#{@name}#{"&stale" if stale}")
    @script.wait_for("ready")
  end

  def tell(line)
    @script.tell(line.to_s)
    @script.wait_for(line.to_s)
  end

  # The event of the page's next connection.
  def opened = app.events.take(event: "open", id: /\b#{@name}\z/)

  def through_tunnel(id)
    @tunnel.enter
    app.events.take(event: "close", id: id)
    yield
    @tunnel.leave
  end

  # Name, data and number of all events that the page has got.
  def heard
    @script.tell("end")
    result = @script.results
    expect(result[:errors]).to eq([])
    result[:heard].map { |event| [event[:type], event[:data], Integer(event[:id][/\d+\z/])] }
  end

  def first_visit = '{"recovered":null,"gap":[]}'
  def recovered = '{"recovered":true,"gap":[]}'

  it "gets exactly what it missed while the connection was lost, then new messages" do
    open_page(channel = "kept-#{Serving.next_name}")
    tell("connect")
    tell(1)
    id = opened.fetch(:id)
    fifth = publish(channel, *"1".."5")
    tell(6)
    through_tunnel(id) { publish(channel, *"6".."9") }
    expect(opened[:since]).to eq(fifth)
    tell(11)
    publish(channel, "10")
    tell(12)
    start = Integer(fifth[/\d+\z/]) - 5
    numbered = (1..10).map { |number| ["msg", number.to_s, start + number] }
    expect(heard).to eq([["push.open", first_visit, start], *numbered.first(5), ["push.open", recovered, start + 5], *numbered.last(5)])
  end

  it "is told about a gap when some messages are lost, and so is the handler" do
    open_page(channel = "short-#{Serving.next_name}")
    tell("connect")
    tell(1)
    id = opened.fetch(:id)
    cursor = publish(channel, "1")
    tell(2)
    through_tunnel(id) { publish(channel, *"2".."6") }
    opened
    app.events.take(event: "gap", channel: channel, id: id)
    tell(3)
    publish(channel, "7")
    tell(4)
    # The same for a later subscription.
    app.ask("PushServer.publish('short-later', 'x'); 4.times { PushServer.publish('short-later', 'y') }; nil")
    app.ask("client.subscribe('short-later', since: #{cursor.inspect})", id: id)
    tell(5)
    expect(heard.map { |event| event.first(2) })
      .to eq([["push.open", first_visit], %w[msg 1], ["push.open", %({"recovered":false,"gap":["#{channel}"]})], %w[msg 7],
              ["push.gap", '{"channel":"short-later"}']])
  end

  it "begins at the ID in its URL, and resumes after its last ID, although the URL repeats the first" do
    open_page(channel = "kept-#{Serving.next_name}", stale: true)
    publish(channel, "A", "B")
    tell("connect")
    tell(3)
    id = opened.fetch(:id)
    through_tunnel(id) { publish(channel, "C") }
    opened
    tell(5)
    publish(channel, "D")
    tell(6)
    expect(heard.map { |event| event.first(2) })
      .to eq([["push.open", recovered], %w[msg A], %w[msg B], ["push.open", recovered], %w[msg C], %w[msg D]])
  end
end
