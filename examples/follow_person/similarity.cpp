// How alike two person crops are to an exported network: cosine similarity, in C++ with OpenVINO.
//
//     similarity MODEL.onnx FIRST.ppm SECOND.ppm
//
// Crops are binary PPM (P6, 8 bits) of the network's own size: resize before, as the page on exporting says. Size, mean
// and deviation of the input are read from the metadata of the file.
#include <cmath>
#include <fstream>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <openvino/openvino.hpp>

// The numbers of a list in the file's metadata: `"mean": [0.485, 0.456, 0.406]`.
std::vector<float> numbers(const std::string& text, const std::string& key) {
    const auto begin = text.find('[', text.find('"' + key + '"')), end = text.find(']', begin);
    if (begin == std::string::npos || end == std::string::npos) throw std::runtime_error("no " + key + " in the metadata");
    std::vector<float> found;
    for (auto at = begin + 1; at < end; at = text.find(',', at) == std::string::npos ? end : text.find(',', at) + 1)
        found.push_back(std::stof(text.substr(at, end - at)));
    return found;
}

ov::Tensor crop(const std::string& path, const ov::Shape& shape, const std::string& told) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    size_t width = 0, height = 0, most = 0;
    file >> kind >> width >> height >> most;
    file.get();
    std::vector<unsigned char> pixels(3 * height * width);
    file.read(reinterpret_cast<char*>(pixels.data()), pixels.size());
    if (!file || kind != "P6" || most != 255) throw std::runtime_error(path + " is no binary PPM of 8 bits");
    if (height != shape[2] || width != shape[3])
        throw std::runtime_error(path + " is not " + std::to_string(shape[3]) + " pixels wide and " +
                                 std::to_string(shape[2]) + " high");
    const auto mean = numbers(told, "mean"), deviation = numbers(told, "std");
    ov::Tensor images(ov::element::f32, shape);
    for (size_t channel = 0; channel < 3; ++channel)
        for (size_t i = 0; i < height * width; ++i)
            images.data<float>()[channel * height * width + i] =
                (pixels[3 * i + channel] / 255.0f - mean[channel]) / deviation[channel];
    return images;
}

std::vector<float> embedding(ov::CompiledModel& network, const ov::Tensor& images) {
    auto request = network.create_infer_request();
    request.set_input_tensor(images);
    request.infer();
    const auto out = request.get_output_tensor();
    std::vector<float> found(out.data<float>(), out.data<float>() + out.get_size());
    const float length = std::sqrt(std::inner_product(found.begin(), found.end(), found.begin(), 0.0f));
    for (auto& value : found) value /= length;
    return found;
}

int main(int count, char** given) try {
    if (count != 4) throw std::runtime_error("usage: similarity MODEL.onnx FIRST.ppm SECOND.ppm");
    ov::Core core;
    const auto model = core.read_model(given[1]);
    const auto told = model->get_rt_info<std::string>("framework", "preprocessing");
    auto shape = model->input().get_partial_shape();
    shape[0] = 1;
    auto network = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32));
    const auto first = embedding(network, crop(given[2], shape.to_shape(), told));
    const auto second = embedding(network, crop(given[3], shape.to_shape(), told));
    std::cout << std::inner_product(first.begin(), first.end(), second.begin(), 0.0f) << '\n';
} catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 2;
}
