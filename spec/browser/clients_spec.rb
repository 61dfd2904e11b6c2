# frozen_string_literal: true

require "spec_helper"

# The pages that docs/clients.md shows, with packages from npm.
RSpec.describe "The pages of docs/clients.md in Chromium" do
  include ClientPages

  before(:context) do
    skip Script.missing(:chromium) if Script.missing(:chromium)
    @chromium = Script.new("pages.js")
  end

  after(:context) { @chromium&.stop }

  ClientPages.serve(self, ClientPages::BEHAVIOUR.keys)

  attr_reader :tunnel

  before { @tunnel = Tunnel.new(app.port) }
  after { @tunnel.close }

  def order(line) = @chromium.order(line)

  ClientPages::BEHAVIOUR.each do |heading, behaviour|
    describe heading do
      before do
        @page = Serving.next_name
        order("open #{tunnel.url}/#{ClientPages.path_of(heading)}?#{@page}")
        expect(opened).to be_nil
        publish(heading, "1", "2 & <b>", "3")
        expect(heard(3, @page)).to eq(["1", "2 & <b>", "3"])
      end

      after { expect(order("close")).to eq("[]") }

      behaviour.each do |cut, what|
        it "gets all messages in order, and #{what.to_s.tr("_", " ")} when the connection was #{cut}" do
          away(cut, heading, "4", "5")
          expect_behaviour(what, heading)
        end
      end

      it "sends a message once", if: ClientPages::DOCS.code(heading, "html").match?(/<form|window.say/) do
        publish(heading, "say it")
        app.wait_for_line(/said by #{@page}\b/)
        # A client that did not understand the response would send the message again.
        publish(heading, "thank you")
        heard(5, @page)
        order("later")
        expect(app.lines.grep(/said by #{@page}\b/).size).to eq(1)
      end
    end
  end

  # Calls one of the methods below.
  def expect_behaviour(what, heading) = send(what, heading)

  def stays_away(_heading)
    order("ended")
    before = order("attempts")
    order("later")
    expect(order("attempts")).to eq(before)
  end
end
