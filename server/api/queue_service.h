// quant.v1.QueueService: the queue's mode, for operators.
#ifndef QUANT_SERVER_API_QUEUE_SERVICE_H_
#define QUANT_SERVER_API_QUEUE_SERVICE_H_

#include "quant/v1/queue.grpc.pb.h"
#include "server/api/call.h"
#include "server/api/env.h"

namespace quant {

class QueueService final : public v1::QueueService::CallbackService {
 public:
  explicit QueueService(const ApiEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* GetQueue(grpc::CallbackServerContext* context,
                                     const v1::GetQueueRequest* request,
                                     v1::Queue* response) override;
  grpc::ServerUnaryReactor* PauseQueue(grpc::CallbackServerContext* context,
                                       const v1::PauseQueueRequest* request,
                                       v1::Queue* response) override;
  grpc::ServerUnaryReactor* DrainQueue(grpc::CallbackServerContext* context,
                                       const v1::DrainQueueRequest* request,
                                       v1::Queue* response) override;
  grpc::ServerUnaryReactor* ResumeQueue(grpc::CallbackServerContext* context,
                                        const v1::ResumeQueueRequest* request,
                                        v1::Queue* response) override;

 private:
  grpc::ServerUnaryReactor* SetMode(const CallInfo& method,
                                    grpc::CallbackServerContext* context,
                                    QueueMode mode, v1::Queue* response);

  const ApiEnv& env_;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_QUEUE_SERVICE_H_
