# frozen_string_literal: true

require "spec_helper"

# The entries of docs/clients.md that are pages: the code there, with the packages from npm, in Chromium.
RSpec.describe "Clients people already have, in a browser" do
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
        it "hears all in order, and #{what.to_s.tr("_", " ")} when the connection was #{cut}" do
          away(cut, heading, "4", "5")
          expect_behaviour(what, heading)
        end
      end

      it "says something, once", if: ClientPages::DOCS.code(heading, "html").match?(/<form|window.say/) do
        publish(heading, "say it")
        app.wait_for_line(/said by #{@page}\b/)
        # A client that did not understand the answer would say it again.
        publish(heading, "thank you")
        heard(5, @page)
        order("later")
        expect(app.lines.grep(/said by #{@page}\b/).size).to eq(1)
      end
    end
  end

  # One of the methods below.
  def expect_behaviour(what, heading) = send(what, heading)

  def stays_away(_heading)
    order("ended")
    before = order("attempts")
    order("later")
    expect(order("attempts")).to eq(before)
  end
end
