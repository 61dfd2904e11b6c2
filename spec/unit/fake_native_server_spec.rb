# frozen_string_literal: true

require_relative "unit_helper"

# Specs with the fake prove something only if the native class has the same methods.
RSpec.describe FakeNativeServer do
  native = PushServer.const_get(:NativeServer)

  (native.public_instance_methods(false) - %i[inspect]).each do |name|
    it "has ##{name}, with as many arguments as the native class" do
      expect(described_class.public_method_defined?(name)).to be(true)
      expect(described_class.instance_method(name).arity).to eq(native.instance_method(name).arity)
    end
  end

  (native.singleton_methods(false) - %i[new]).each do |name|
    it "has .#{name}, with as many arguments as the native class" do
      expect(described_class).to respond_to(name)
      expect(described_class.method(name).arity).to eq(native.method(name).arity)
    end
  end

  it "is made with as many arguments as the native class" do
    expect { native.new }.to raise_error(ArgumentError, /given 0, expected 2/)
    expect(described_class.instance_method(:initialize).arity).to eq(2)
  end
end
